import FoundationEssentials
import MeshModel
import ProxyCore

/// The workers' reports, joined and as JSON: what the agent's admin API shows of the proxy.
struct ProxyDump {
  let reports: [WorkerReport]
  let snapshot: MeshSnapshot

  private struct Connection: Encodable {
    let id: UInt64
    let direction, source, source_identity, destination, destination_identity, service: String
    let downstream_address, upstream_address: String
    let tls: Bool
    let `protocol`: String
    let bytes_sent, bytes_received: UInt64
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
      `protocol` = facts.isTunnelled ? "hbone" : "tcp"
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
      tunnels = reports.reduce(0) { $0 + $1.tunnels }
      pooled_sockets = reports.reduce(0) { $0 + $1.pooledSockets }
      workloads = snapshot.workloadCount
      services = snapshot.serviceCount
    }
  }

  private struct Dump: Encodable {
    let statistics: Counters
    let connections: Connections
    let pods: [String]
    let identities: [String]
  }

  /// - Parameter what: connections, statistics, or anything else for all.
  func json(_ what: String) -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
    let counters = Counters(reports, snapshot)
    let list = Connections(
      total: counters.connections, connections: reports.flatMap(\.connections).prefix(1000).map(Connection.init))
    let encoded: Data?
    switch what {
    case "connections": encoded = try? encoder.encode(list)
    case "statistics": encoded = try? encoder.encode(counters)
    default:
      encoded = try? encoder.encode(
        Dump(
          statistics: counters, connections: list, pods: Set(reports.flatMap(\.pods)).sorted(),
          identities: Set(reports.flatMap(\.identities)).sorted()))
    }
    return encoded ?? Data("{}".utf8)
  }
}
