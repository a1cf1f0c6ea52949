import Crypto

/// Which of the control plane's replicas a node talks to. Each node prefers them in an order of its own (rendezvous
/// hashing), so that nodes spread over them, and those of one that dies over all that are left. Pure; `now` is seconds of a
/// clock that doesn't go back.
struct ReplicaChoice: Sendable {
  static let maximumReplicas = 64
  /// Seconds that one that failed isn't preferred.
  static let avoidance = 1800.0

  let node: String
  /// In this node's order.
  private(set) var replicas: [String] = []
  /// Since one was connected to last.
  private var tried: Set<String> = []
  private var failures: [String: Double] = [:]

  init(node: String) { self.node = node }

  /// Takes what the name resolves to now; nothing: what was known holds.
  mutating func resolved(_ addresses: [String]) {
    guard !addresses.isEmpty else { return }
    replicas = Self.ordered(addresses, for: node)
    failures = failures.filter { replicas.contains($0.key) }
    tried.formIntersection(replicas)
  }

  /// The one to try now; nil: none is known.
  var next: String? { replicas.first { !tried.contains($0) } ?? replicas.first }

  /// - Parameter wasConnected: it served a while, and everything else may be tried again.
  /// - Returns: whether another one can be tried at once; if not, all have failed, and are tried again later.
  mutating func failed(_ replica: String, wasConnected: Bool, now: Double) -> Bool {
    if wasConnected { tried = [] }
    tried.insert(replica)
    failures[replica] = now
    if replicas.contains(where: { !tried.contains($0) }) { return true }
    tried = []
    return false
  }

  /// Where a node that is connected to `current` would rather be; nil: it is well where it is.
  func better(than current: String, now: Double) -> String? {
    let best = replicas.first { now >= (failures[$0] ?? -.infinity) + Self.avoidance }
    return best == current ? nil : best.flatMap { isBefore($0, current) ? $0 : nil }
  }

  private func isBefore(_ left: String, _ right: String) -> Bool {
    guard let place = replicas.firstIndex(of: left) else { return false }
    return replicas.firstIndex(of: right).map { place < $0 } ?? true
  }

  static func ordered(_ addresses: [String], for node: String) -> [String] {
    let known = Set(addresses).sorted().prefix(maximumReplicas)
    let weighted: [(weight: UInt64, address: String)] = known.map { (weight($0, node), $0) }
    // Of equal weights the one stays first that is first by name.
    return weighted.sorted { left, right in left.weight > right.weight }.map(\.address)
  }

  private static func weight(_ address: String, _ node: String) -> UInt64 {
    SHA256.hash(data: Array("\(node)\u{0}\(address)".utf8)).prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
  }
}
