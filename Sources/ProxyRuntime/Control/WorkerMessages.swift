import MeshModel
import ProxyCore

/// What the control thread tells a worker. Descriptors become the worker's.
enum WorkerCommand: Sendable {
  case snapshot(MeshSnapshot)
  case identity(TLSIdentity)
  /// All are known before the first is served.
  case addPods([AddedPod])
  case removePod(id: String, runsOn: Bool)
  case sockets(id: String, kind: SocketKind, [Int32])
  case report(query: UInt64, ReportScope)
  /// - Parameter hasSuccessor: another proxy accepts on the same sockets.
  case drain(hasSuccessor: Bool = false)
  case stop
}

/// A pod with the listeners that a worker is to serve.
struct AddedPod: Sendable {
  let id: String
  let listeners: [(ListenerKind, Int32)]
}

/// What a worker tells the control thread.
enum WorkerEvent: Sendable {
  case needsSockets(worker: Int, id: String, kind: SocketKind, count: Int)
  case report(worker: Int, query: UInt64, WorkerReport)
  case log(LogLevel, String)
  case drained(worker: Int)
}

enum LogLevel: Int, Sendable, Comparable {
  case debug, info, warning, error

  static func < (left: LogLevel, right: LogLevel) -> Bool { left.rawValue < right.rawValue }
}

/// What a report has to hold beyond what every one holds.
struct ReportScope: Sendable {
  var hasEndpoints = false
  /// The endpoints of this Service only; nil: of all.
  var service: ServiceKey?

  init(what: String, service: String) {
    hasEndpoints = what == "endpoints" || what == "dump"
    self.service = ServiceKey(service)
  }
}

/// A worker's state at one moment.
struct WorkerReport: Sendable {
  struct Connection: Sendable {
    enum Carried: String, Sendable {
      case tcp, hbone
      case http1 = "http/1.1"
      case http2
    }

    /// nil: one of HTTP, which has none.
    let id: UInt64?
    let facts: Session.Facts
    let carried: Carried
    /// nil: not counted, of HTTP.
    let bytesSent: UInt64?
    let bytesReceived: UInt64?
    let ageSeconds: Double
    let isEstablished: Bool
  }

  var statistics = Statistics()
  /// The first thousand.
  var connections: [Connection] = []
  var connectionCount = 0
  var pods: [String] = []
  var pooledSockets = 0
  var tunnels = 0
  var identities: [String] = []
  /// Only where asked for.
  var endpoints: [EndpointLoad] = []
}

/// Counters of a worker since its start.
struct Statistics: Sendable {
  var accepted: UInt64 = 0
  var established: UInt64 = 0
  var refused: UInt64 = 0
  var failed: UInt64 = 0
  var tunnelFailures: UInt64 = 0
  var handshakesRefused: UInt64 = 0
  var dnsQueries: UInt64 = 0
  var requests: UInt64 = 0
  var retries: UInt64 = 0
  /// Answers that the proxy gave itself.
  var localReplies: UInt64 = 0
  var droppedLogs: UInt64 = 0

  static func + (left: Statistics, right: Statistics) -> Statistics {
    var sum = left
    sum.accepted += right.accepted
    sum.established += right.established
    sum.refused += right.refused
    sum.failed += right.failed
    sum.tunnelFailures += right.tunnelFailures
    sum.handshakesRefused += right.handshakesRefused
    sum.dnsQueries += right.dnsQueries
    sum.requests += right.requests
    sum.retries += right.retries
    sum.localReplies += right.localReplies
    sum.droppedLogs += right.droppedLogs
    return sum
  }
}
