import MeshModel

/// Power of two choices: of two endpoints drawn at random the one with fewer outstanding connections
/// (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).
public struct PowerOfTwoChoices: Sendable {
  private var outstanding: [SocketAddress: Int] = [:]

  public init() {}

  public func load(of address: SocketAddress) -> Int { outstanding[address] ?? 0 }

  public mutating func opened(_ address: SocketAddress) { outstanding[address, default: 0] += 1 }

  public mutating func closed(_ address: SocketAddress) {
    guard let count = outstanding[address] else { return }
    outstanding[address] = count > 1 ? count - 1 : nil
  }

  /// An index into `addresses`; nil where it is empty.
  public func choose(
    from addresses: [SocketAddress], using random: inout some RandomNumberGenerator
  ) -> Int? {
    guard addresses.count > 1 else { return addresses.isEmpty ? nil : 0 }
    let first = Int.random(in: 0..<addresses.count, using: &random)
    var second = Int.random(in: 0..<addresses.count - 1, using: &random)
    if second >= first { second += 1 }
    return load(of: addresses[second]) < load(of: addresses[first]) ? second : first
  }
}
