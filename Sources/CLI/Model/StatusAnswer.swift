/// The agent's `/v1/status`.
struct StatusAnswer: Decodable, Sendable {
  var node: String
  var version: String
  var startedAt: String
  var proxy: Proxy
  var control: Control
  var snapshot: Snapshot
  var pods: Pods
  var config: Config

  struct Proxy: Decodable, Sendable {
    /// Absent while it isn't running.
    var pid: Int?
    /// running, starting or stopped
    var state: String
    var restarts: Int
    /// Absent while it doesn't answer.
    var traffic: Traffic?
  }

  /// Since the proxy's start.
  struct Traffic: Decodable, Sendable {
    var requests: Int
    var retries: Int
    /// Requests that the proxy answered itself.
    var localReplies: Int
  }

  struct Control: Decodable, Sendable {
    var address: String
    var connected: Bool
    var lastError: String?
    /// Since when it's connected, or not.
    var since: String?
  }

  struct Snapshot: Decodable, Sendable {
    /// Resources in force, by type URL.
    var versions: [String: Int]
    /// From the disk, not yet confirmed by the control plane.
    var restored: Bool
    var rejected: [Rejected]
  }

  struct Rejected: Decodable, Sendable {
    var type: String
    var name: String
    var reason: String
  }

  struct Pods: Decodable, Sendable {
    var enrolled: Int
    var pending: Int
    var failed: Int
    /// nil: the agent is an older one.
    var stubs: [Stub]?
  }

  struct Stub: Decodable, Sendable {
    var uid: String
    var mode: String
    var reason: String
  }

  struct Config: Decodable, Sendable {
    var mutualTls: String
    var trustDomain: String
  }
}
