import FoundationEssentials
import MeshModel
import ProxyCore

/// The workers' reports, joined and as JSON: what the agent's admin API shows of the proxy.
struct ProxyDump {
  /// Of each list: the rest is counted, or said to be there.
  static let rowsBound = 1000

  let reports: [WorkerReport]
  let snapshot: MeshSnapshot
  /// Whose endpoints are asked for; nil: all Services'.
  var service: ServiceKey?

  private struct Connection: Encodable {
    let id: UInt64?
    let direction, source, source_identity, destination, destination_identity, service: String
    let downstream_address, upstream_address: String
    let tls: Bool
    let `protocol`: String
    let bytes_sent, bytes_received: UInt64?
    let age_seconds: Double
    let state: String

    init(_ connection: WorkerReport.Connection) {
      let facts = connection.facts
      id = connection.id
      direction = facts.direction.rawValue
      source = facts.source
      source_identity = facts.sourceIdentity
      destination = facts.destination
      destination_identity = facts.destinationIdentity
      service = facts.service
      downstream_address = facts.downstreamAddress?.description ?? ""
      upstream_address = facts.upstreamAddress?.description ?? ""
      tls = facts.isTLS
      `protocol` = connection.carried.rawValue
      bytes_sent = connection.bytesSent
      bytes_received = connection.bytesReceived
      age_seconds = connection.ageSeconds
      state = connection.isEstablished ? "established" : "connecting"
    }
  }

  private struct Connections: Encodable {
    let total: Int
    let connections: [Connection]
  }

  private struct Counters: Encodable {
    let workers: Int
    let connections: Int
    let accepted, established, refused, failed, tunnel_failures, handshakes_refused, dns_queries, dropped_logs: UInt64
    let requests, retries, local_replies: UInt64
    let tunnels, pooled_sockets, workloads, services: Int

    init(_ reports: [WorkerReport], _ snapshot: MeshSnapshot) {
      let sum = reports.reduce(Statistics()) { $0 + $1.statistics }
      workers = reports.count
      connections = reports.reduce(0) { $0 + $1.connectionCount }
      accepted = sum.accepted
      established = sum.established
      refused = sum.refused
      failed = sum.failed
      tunnel_failures = sum.tunnelFailures
      handshakes_refused = sum.handshakesRefused
      dns_queries = sum.dnsQueries
      dropped_logs = sum.droppedLogs
      requests = sum.requests
      retries = sum.retries
      local_replies = sum.localReplies
      tunnels = reports.reduce(0) { $0 + $1.tunnels }
      pooled_sockets = reports.reduce(0) { $0 + $1.pooledSockets }
      workloads = snapshot.workloadCount
      services = snapshot.serviceCount
    }
  }

  private struct Dump: Encodable {
    let statistics: Counters
    let connections: Connections
    let routes: RouteList
    let policies: PolicyList
    let endpoints: EndpointList
    let pods: [String]
    let identities: [String]
  }

  private var pods: Set<String> { Set(reports.flatMap(\.pods)) }

  private var connectionList: Connections {
    Connections(
      total: reports.reduce(0) { $0 + $1.connectionCount },
      connections: reports.flatMap(\.connections).prefix(Self.rowsBound).map(Connection.init))
  }

  private var endpointList: EndpointList {
    EndpointList(reports, snapshot, pods: pods, service: service, bound: Self.rowsBound)
  }

  /// - Parameter what: connections, statistics, routes, policies, endpoints, or anything else for all.
  func json(_ what: String) -> Data {
    switch what {
    case "connections": encoded(connectionList)
    case "statistics": encoded(Counters(reports, snapshot))
    case "routes": encoded(RouteList(snapshot.routes, bound: Self.rowsBound))
    case "policies": encoded(PolicyList(snapshot.policies, bound: Self.rowsBound))
    case "endpoints": encoded(endpointList)
    default:
      encoded(
        Dump(
          statistics: Counters(reports, snapshot), connections: connectionList,
          routes: RouteList(snapshot.routes, bound: Self.rowsBound),
          policies: PolicyList(snapshot.policies, bound: Self.rowsBound), endpoints: endpointList,
          pods: pods.sorted(), identities: Set(reports.flatMap(\.identities)).sorted()))
    }
  }

  private func encoded(_ value: some Encodable) -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
    return (try? encoder.encode(value)) ?? Data("{}".utf8)
  }
}
