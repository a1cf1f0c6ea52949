import MeshModel

/// Answers a workload's queries for names of the mesh, and says which ones go to the workload's own server.
///
/// Served as one would expect of a cluster's DNS: Services, headless Services, their workloads' hostnames and SRV
/// records under the cluster domain; besides, without a search list, `service`, `service.namespace` and
/// `service.namespace.svc`.
public struct DNSResolver: Sendable {
  /// The asking workload's.
  public var namespace: String

  public init(namespace: String) {
    self.namespace = namespace
  }

  public enum Verdict: Hashable, Sendable {
    case answer([UInt8])
    /// A well-formed query for a name that isn't the mesh's.
    case forward
    /// No query at all: shorter than a header, or a response. An answer could start a loop.
    case drop
  }

  /// - Parameters:
  ///   - query: a datagram, or a message from a TCP stream without its length.
  ///   - random: picks the first of several addresses.
  public func resolve(
    _ query: UnsafeRawBufferPointer, transport: DNSTransport, zone: some DNSZone, random: UInt64
  ) -> Verdict {
    guard query.count >= DNSLimits.header, query[2] & 0x80 == 0 else { return .drop }
    guard query.dnsUInt16(at: 2) & DNSFlag.opcode == 0 else { return Self.error(.notImplemented, query) }
    let question: DNSQuery
    do { question = try DNSQuery(query) } catch { return Self.error(.formatError, query) }
    if let edns = question.edns, edns.version != 0 { return Self.error(.badVersion, query) }

    let (finding, zoneLabels) = DNSLookup(question, namespace: namespace, zone: zone).run()
    switch finding {
    case .notOurs: return .forward
    case .refused: return Self.error(.refused, query)
    default: break
    }
    var writer = DNSResponseWriter(question, message: query, transport: transport)
    var code = DNSResponseCode.noError
    switch finding {
    case .addresses(let addresses): writer.answer(addresses: addresses, rotation: random)
    case .targets(let targets): writer.answer(targets: targets, rotation: random)
    case .zone: if let zoneLabels { writer.appendSOA(zoneLabels: zoneLabels, asAnswer: true) }
    case .nothing, .noName, .notOurs, .refused:
      if case .noName = finding { code = .nameError }
      // A name outside the cluster domain has no zone of ours above it: absence isn't cached then.
      if let zoneLabels { writer.appendSOA(zoneLabels: zoneLabels, asAnswer: false) }
    }
    return .answer(writer.finish(code, isAuthoritative: true))
  }

  private static func error(_ code: DNSResponseCode, _ query: UnsafeRawBufferPointer) -> Verdict {
    DNSError.answer(code, to: query).map { .answer($0) } ?? .drop
  }
}
