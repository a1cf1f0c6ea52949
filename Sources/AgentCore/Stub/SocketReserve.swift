import Capture
import Glibc

/// Sockets that a pod's stub has opened ahead of need: they last while the stub is away.
struct SocketReserve {
  /// Of each kind.
  static func target(_ kind: PodSocketKind, hasV6: Bool) -> Int {
    switch kind {
    case .egressV4, .deliveryV4: 128
    case .egressV6, .deliveryV6: hasV6 ? 128 : 0
    }
  }

  private var sockets: [PodSocketKind: [Int32]] = [:]
  private var asked: [PodSocketKind: Int] = [:]
  /// What the proxy has asked for and nobody could give.
  private var owed: [PodSocketKind: Int] = [:]

  mutating func take(_ kind: PodSocketKind, count: Int) -> [Int32] {
    let taken = Array(sockets[kind, default: []].suffix(count))
    sockets[kind]?.removeLast(taken.count)
    return taken
  }

  /// How many to ask the stub for now; they count as asked for.
  mutating func shortage(_ kind: PodSocketKind, hasV6: Bool) -> Int {
    let held = (sockets[kind]?.count ?? 0) + (asked[kind] ?? 0)
    let missing = min(128, max(0, Self.target(kind, hasV6: hasV6) - held))
    asked[kind, default: 0] += missing
    return missing
  }

  mutating func owe(_ kind: PodSocketKind, _ count: Int) { owed[kind] = min(128, owed[kind, default: 0] + count) }

  mutating func settle(_ kind: PodSocketKind) -> Int { owed.removeValue(forKey: kind) ?? 0 }

  mutating func answered(_ kind: PodSocketKind, asked count: Int, _ new: [Int32]) {
    asked[kind, default: 0] -= count
    sockets[kind, default: []] += new
  }

  mutating func close() {
    for fd in sockets.values.joined() { Glibc.close(fd) }
    sockets = [:]
  }
}
