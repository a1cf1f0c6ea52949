import MeshModel

/// The client's side of one or more incremental xDS streams, one after the other: what to ask, what to answer, and what is
/// in force. Pure: bytes of messages in, bytes of messages out.
public struct DeltaClient {
  static let workloadURL = "type.googleapis.com/weft.mesh.v1.Workload"
  static let serviceURL = "type.googleapis.com/weft.mesh.v1.Service"
  static let configURL = "type.googleapis.com/weft.mesh.v1.MeshConfig"
  /// The configuration first: until it has come, everything is judged as STRICT.
  static let typeURLs = [configURL, serviceURL, workloadURL]
  public static let resourcesPerType = 100_000
  private static let errorBytes = 8192

  public private(set) var table: MeshTable
  private var versions: [String: [String: ResourceVersion]] = [:]
  private var answered: Set<String> = []
  /// Names that are refused now, with reasons.
  public private(set) var rejected: [String: String] = [:]

  private let bound: Int

  /// - Parameter bound: resources of one type; more are refused.
  public init(trustDomain: TrustDomain, bound: Int = DeltaClient.resourcesPerType) {
    table = MeshTable(trustDomain: trustDomain)
    self.bound = bound
  }

  /// Every type has been answered once: what is known is the mesh, and not a part of it.
  public var isComplete: Bool { answered.count == Self.typeURLs.count }

  /// The first messages of a stream: it resumes from what is in force.
  public func start() -> [[UInt8]] {
    Self.typeURLs.map { DeltaMessages.subscribe(typeURL: $0, versions: versions[$0] ?? [:]) }
  }

  /// Takes a response.
  ///
  /// - Returns: the answer. A resource that can't be used is refused by name, and its last good version stays in force.
  public mutating func receive(_ message: UnsafeRawBufferPointer) throws(WireError) -> [UInt8] {
    let response = try DeltaResponse(message)
    let url = response.typeURL
    guard Self.typeURLs.contains(url) else {
      return DeltaMessages.answer(typeURL: url, nonce: response.nonce, error: "this type was not asked for")
    }
    // Taken out, so that it's changed in place.
    var held = versions.removeValue(forKey: url) ?? [:]
    defer { versions[url] = held }
    var problems: [(String, String)] = []
    try response.forEach { result in
      switch result {
      case .failure(let error): problems.append(("", error.reason))
      case .success(let resource):
        guard let problem = take(resource, url, isFull: held[resource.name] == nil && held.count >= bound) else {
          held[resource.name] = ResourceVersion(resource.version)
          rejected[resource.name] = nil
          return
        }
        problems.append((resource.name, problem))
        if rejected.count < 100 { rejected[resource.name] = problem }
      }
    } removed: { name in
      held[name] = nil
      rejected[name] = nil
      remove(name, url)
    }
    answered.insert(url)
    return DeltaMessages.answer(typeURL: url, nonce: response.nonce, error: Self.text(problems))
  }

  /// nil where it is in force.
  private mutating func take(_ resource: DeltaResponse.Resource, _ url: String, isFull: Bool) -> String? {
    guard resource.typeURL == url else { return "its type is \(resource.typeURL), not the response's" }
    guard !isFull else { return "more than \(bound) resources of one type" }
    do throws(WireError) {
      switch url {
      case Self.workloadURL:
        let workload = try StubWorkload(protobuf: resource.value)
        guard workload.id == resource.name else { return "its uid is \(workload.id), not its name" }
        table.set(workload)
      case Self.serviceURL:
        let service = try StubService(protobuf: resource.value)
        guard service.key == resource.name else { return "it is \(service.key), not what its name says" }
        table.set(service)
      default: table.set(try StubMeshConfig(protobuf: resource.value))
      }
      return nil
    } catch {
      return error.reason
    }
  }

  private mutating func remove(_ name: String, _ url: String) {
    if url == Self.workloadURL { table.remove(workload: name) }
    if url == Self.serviceURL { table.remove(service: name) }
  }

  /// One line a resource, `name: reason`, as an agent's NACK has it.
  private static func text(_ problems: [(String, String)]) -> String? {
    guard !problems.isEmpty else { return nil }
    let lines = problems.map { $0.0.isEmpty ? $0.1 : "\($0.0): \($0.1)" }
    return String(lines.joined(separator: "\n").prefix(errorBytes))
  }
}
