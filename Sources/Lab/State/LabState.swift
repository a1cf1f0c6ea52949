import Foundation
import MeshModel

/// What a lab consists of: `lab.json`. It is written before each thing is made, so that what stands there may not
/// exist yet, but nothing exists that doesn't stand there.
public struct LabState: Codable, Sendable {
  public var name: String
  /// The folder of YAML files, absolute.
  public var directory: String
  public var createdAt: Date
  /// Whether `up` came to its end.
  public var isReady = false
  /// Whether control plane and agents were started with the lab.
  public var isMeshed: Bool
  public var hasIPv6: Bool
  public var options: MeshOptions
  public var control: ProcessRecord?
  /// nil: the lab runs without Kubernetes.
  public var cluster: Cluster?
  public var nodes: [Node] = []
  public var pods: [Pod] = []

  public struct Node: Codable, Sendable {
    public var name: String
    /// From 0; decides the addresses.
    public var index: Int
    public var networkNamespace: String
    public var addresses: [String]
    public var cgroup: String
    public var bpf: String
    public var agent: ProcessRecord?
    /// nil: the lab runs without Kubernetes.
    public var runtime: NodeRuntime?
  }

  public struct Pod: Codable, Sendable {
    public var id: PodName
    public var node: String
    /// Unique in the lab; decides the namespace's name.
    public var index: Int
    /// Unique on the node; decides the addresses.
    public var slot: Int
    public var networkNamespace: String
    /// IPv4 first.
    public var addresses: [String]
    public var cgroup: String
    public var isMeshed: Bool
    public var hostname: String
    public var containers: [Container] = []
    /// The container that commands are for where none is said; nil: the first.
    public var defaultContainer: String?
  }

  public struct Container: Codable, Sendable {
    public var name: String
    public var process: ProcessRecord
  }

  func node(_ name: String) throws -> Node {
    guard let node = nodes.first(where: { $0.name == name }) else {
      throw LabError("there is no node \"\(name)\"; there is \(nodes.map(\.name).joined(separator: ", "))")
    }
    return node
  }

  /// - Parameter namespace: nil finds the name in any namespace.
  func pod(_ name: String, namespace: String?) throws -> Pod {
    let found = pods.filter { $0.id.name == name && (namespace == nil || $0.id.namespace == namespace) }
    guard let pod = found.first else {
      throw LabError(
        "there is no pod \"\(name)\"" + (namespace.map { " in namespace \($0)" } ?? "")
          + "; there is \(pods.map(\.id.description).sorted().joined(separator: ", "))")
    }
    guard found.count == 1 else {
      throw LabError(
        "\"\(name)\" is a pod of several namespaces: \(found.map(\.id.namespace).joined(separator: ", ")). Say -n.")
    }
    return pod
  }
}

/// What `up` hands on to the mesh's programs.
public struct MeshOptions: Codable, Sendable, Equatable {
  /// Go-style: `90s`, `10m`, `24h`; nil leaves the control plane's default.
  public var certificateLifetime: String?
  public var proxyWorkers: Int?
  public var controlArguments: [String]

  public init(certificateLifetime: String? = nil, proxyWorkers: Int? = nil, controlArguments: [String] = []) {
    self.certificateLifetime = certificateLifetime
    self.proxyWorkers = proxyWorkers
    self.controlArguments = controlArguments
  }
}

extension LabState {
  /// - Throws: `LabError` where there is no such lab, or its record is broken (a crash while it was made).
  static func load(_ layout: Layout) throws -> LabState {
    guard let data = FileManager.default.contents(atPath: layout.stateFile) else {
      throw LabError("there is no lab \"\(layout.name)\"; weft-lab up DIR --name \(layout.name) makes it")
    }
    do {
      let decoder = JSONDecoder()
      decoder.dateDecodingStrategy = .iso8601
      var state = try decoder.decode(LabState.self, from: data)
      // Of these the kubelet keeps the record.
      if state.cluster != nil, let pods = FileManager.default.contents(atPath: layout.podRecords) {
        state.pods = try decoder.decode([Pod].self, from: pods)
      }
      return state
    } catch {
      throw LabError(
        "\(layout.stateFile): can't be read as a lab's state. Remove the lab: weft-lab down --name \(layout.name)")
    }
  }

  func encoded() throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.dateEncodingStrategy = .iso8601
    encoder.keyEncodingStrategy = .useDefaultKeys
    return try encoder.encode(self)
  }

  /// `lab.json` as text.
  public func json() throws -> String { String(decoding: try encoded(), as: UTF8.self) }

  func save(_ layout: Layout) throws {
    try Files.writeAtomically([UInt8](try encoded()), to: layout.stateFile)
  }
}
