import MeshModel

@testable import ProxyCore

func endpointAddress(_ number: Int) -> SocketAddress {
  SocketAddress(IPAddress(v4: 0x0a00_0000 + UInt32(number)), 8080)
}

func balanced(
  _ number: Int, weight: UInt32 = 1, isReady: Bool = true, isDraining: Bool = false, rank: LocalityRank = .other
) -> BalancedEndpoint {
  BalancedEndpoint(
    id: "shop/reviews-\(number)", address: endpointAddress(number), weight: weight, isReady: isReady,
    isDraining: isDraining, rank: rank)
}

extension EndpointSet {
  init(
    _ endpoints: [BalancedEndpoint], _ algorithm: LoadBalancer.Algorithm, locality: Locality? = nil,
    outlierDetection: OutlierDetection? = nil
  ) {
    self.init()
    update(
      endpoints, policy: LoadBalancer(algorithm: algorithm), locality: locality, outlierDetection: outlierDetection,
      now: 0)
  }

  /// How often each is chosen, nothing being in flight.
  mutating func counts(_ choices: Int, now: NanoTime = 0, random: inout SeededRandom) -> [Int] {
    var counts = Array(repeating: 0, count: endpoints.count)
    for _ in 0..<choices {
      guard let index = choose(now: now, random: &random) else { continue }
      counts[index] += 1
    }
    return counts
  }

  /// A try from its start to its end.
  mutating func run(_ index: Int, _ outcome: AttemptOutcome, latency: NanoTime = 1_000_000, now: NanoTime) {
    let attempt = started(index)
    finished(attempt, outcome: outcome, latency: latency, now: now)
  }
}

/// Pearson's statistic; for k classes its mean is k - 1 and its variance 2(k - 1).
func chiSquare(_ counts: [Int], expected: [Double]) -> Double {
  zip(counts, expected).reduce(0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) / $1.1 }
}
