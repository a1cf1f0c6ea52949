import MeshModel
import Testing

@testable import ProxyCore

@Suite struct PowerOfTwoChoicesTests {
  private func addresses(_ count: Int) -> [SocketAddress] {
    (0..<count).map { SocketAddress(IPAddress(v4: 0x0a00_0000 + UInt32($0)), 80) }
  }

  @Test func nothingToChoose() {
    var random = SeededRandom(state: 1)
    let balancer = PowerOfTwoChoices()
    #expect(balancer.choose(from: [], using: &random) == nil)
    #expect(balancer.choose(from: addresses(1), using: &random) == 0)
  }

  @Test func ofTwoTheLessLoaded() {
    var random = SeededRandom(state: 2)
    var balancer = PowerOfTwoChoices()
    let two = addresses(2)
    balancer.opened(two[0])
    for _ in 0..<100 { #expect(balancer.choose(from: two, using: &random) == 1) }
    balancer.closed(two[0])
    balancer.opened(two[1])
    for _ in 0..<100 { #expect(balancer.choose(from: two, using: &random) == 0) }
  }

  @Test func equalLoadsAreChosenEvenly() {
    var random = SeededRandom(state: 3)
    let balancer = PowerOfTwoChoices()
    let ten = addresses(10)
    var counts = Array(repeating: 0, count: 10)
    for _ in 0..<20_000 { counts[balancer.choose(from: ten, using: &random)!] += 1 }
    // 2,000 each is expected; 5 standard deviations are 212.
    #expect(counts.allSatisfy { abs($0 - 2000) < 212 })
  }

  /// With connections that stay, the fullest endpoint holds hardly more than the average: log log n, against log n
  /// for a choice by chance alone.
  @Test(arguments: [11, 12, 13] as [UInt64]) func loadStaysLevel(seed: UInt64) {
    var random = SeededRandom(state: seed)
    var balancer = PowerOfTwoChoices()
    let hundred = addresses(100)
    for _ in 0..<10_000 { balancer.opened(hundred[balancer.choose(from: hundred, using: &random)!]) }
    let loads = hundred.map { balancer.load(of: $0) }
    #expect(loads.reduce(0, +) == 10_000)
    #expect(loads.max()! <= 104)
    #expect(loads.min()! >= 94)
  }

  @Test func aSlowEndpointGetsLess() {
    var random = SeededRandom(state: 4)
    var balancer = PowerOfTwoChoices()
    let four = addresses(4)
    var chosen = Array(repeating: 0, count: 4)
    var open: [Int] = []
    for _ in 0..<4000 {
      let choice = balancer.choose(from: four, using: &random)!
      chosen[choice] += 1
      balancer.opened(four[choice])
      // All others answer at once; the first keeps its connections.
      if choice == 0 { open.append(choice) } else { balancer.closed(four[choice]) }
      if open.count > 50 { balancer.closed(four[open.removeFirst()]) }
    }
    #expect(chosen[0] < 200)
  }

  @Test func closingMoreThanWasOpenedIsNothing() {
    var balancer = PowerOfTwoChoices()
    let one = addresses(1)[0]
    balancer.closed(one)
    #expect(balancer.load(of: one) == 0)
    balancer.opened(one)
    balancer.closed(one)
    balancer.closed(one)
    #expect(balancer.load(of: one) == 0)
  }
}
