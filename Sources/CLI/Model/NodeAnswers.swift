/// The agent's `/v1/identities`.
struct IdentitiesAnswer: Decodable, Sendable {
  var identities: [Entry]
  var trustBundle: [Root]

  struct Entry: Decodable, Sendable {
    /// Whose answer it is, where several agents were asked.
    var agent: String?
    var spiffeId: String
    var serial: String?
    var notBefore: String?
    var notAfter: String?
    var renewAt: String?
    /// valid, renewing, expired or missing
    var state: String
    var error: String?
  }

  struct Root: Decodable, Sendable {
    var agent: String?
    var subject: String
    var notAfter: String
  }
}

/// The agent's `/v1/bpf`.
struct BPFAnswer: Decodable, Sendable {
  var programs: [Program]
  var links: [Link]
  var maps: [Map]

  struct Program: Decodable, Sendable {
    var agent: String?
    var name: String
    var id: Int
    var type: String
    /// Absent where the kernel doesn't count (`kernel.bpf_stats_enabled`).
    var runCount: Int?
  }

  struct Link: Decodable, Sendable {
    var agent: String?
    var name: String
    var id: Int
    var attachType: String
    var target: String?
  }

  struct Map: Decodable, Sendable {
    var agent: String?
    var name: String
    var id: Int
    var type: String
    /// Absent where entries can't be counted.
    var entries: Int?
    var maxEntries: Int
  }
}

/// The agent's `/v1/check`.
struct CheckAnswer: Codable, Equatable, Sendable {
  var checks: [Entry]

  struct Entry: Codable, Equatable, Sendable {
    var agent: String?
    var name: String
    var ok: Bool
    var detail: String
    /// What to do where it isn't ok.
    var repair: String?
  }
}

/// The agent's `/v1/dump`: only printed.
struct DumpAnswer: Decodable, Sendable {}
