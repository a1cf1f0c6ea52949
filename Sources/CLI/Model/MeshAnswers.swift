/// The agent's `/v1/workloads`.
struct WorkloadsAnswer: Decodable, Sendable {
  var workloads: [Entry]

  struct Entry: Decodable, Sendable {
    /// Whose answer it is, where several agents were asked.
    var agent: String?
    var uid: String
    var namespace: String
    var name: String
    var serviceAccount: String
    var node: String
    var addresses: [String]
    var meshed: Bool
    var ready: Bool
    /// Whether it runs on the agent's own node.
    var local: Bool
    /// Who carries it: node, handoff or tunnel; absent from agents before 0.1.
    var mode: String?
    /// enrolled, pending, failed, tunnel, remote or unmeshed
    var state: String
    var reason: String?
    var identity: String?
  }
}

/// The agent's `/v1/services`.
struct ServicesAnswer: Decodable, Sendable {
  var services: [Entry]

  struct Entry: Decodable, Sendable {
    /// Whose answer it is, where several agents were asked.
    var agent: String?
    var namespace: String
    var name: String
    var addresses: [String]
    var ports: [Port]
    var endpoints: [Endpoint]
  }

  struct Port: Decodable, Sendable {
    var port: Int
    var name: String?
    var transport: String
  }

  struct Endpoint: Decodable, Sendable {
    var workload: String
    var address: String
    /// The workload's port for each of the Service's.
    var ports: [String: Int]
    var ready: Bool
    var node: String
  }
}

/// The agent's `/v1/connections`: the first 1,000.
struct ConnectionsAnswer: Decodable, Sendable {
  var total: Int
  var connections: [Entry]

  struct Entry: Decodable, Sendable {
    /// Whose answer it is, where several agents were asked.
    var agent: String?
    /// outbound, inbound or local
    var direction: String
    var source: String?
    var sourceIdentity: String?
    var destination: String?
    var destinationIdentity: String?
    var service: String?
    var downstreamAddress: String?
    var upstreamAddress: String?
    var tls: Bool
    /// tcp, hbone, http/1.1 or http2
    var `protocol`: String
    /// Absent where they aren't counted.
    var bytesSent: Int?
    var bytesReceived: Int?
    var ageSeconds: Double
    var state: String
  }
}
