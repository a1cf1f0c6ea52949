import MeshModel
import Testing

@testable import ProxyCore

@Suite struct CompiledRuleTests {
  private func rule(_ weights: [UInt32], invalid: Int? = nil) -> CompiledRule {
    let backends = weights.enumerated().map { index, weight in
      RouteBackend(service: .reviews, port: 80, weight: weight, invalid: index == invalid ? "no such Service" : "")
    }
    return CompiledRule(RouteRule(backends: backends), index: 0, of: .sample("a", [:]))
  }

  @Test(arguments: [[90, 10], [1, 1, 1], [0, 5, 0, 15], [1_000_000, 1], [1]] as [[UInt32]])
  func backendsInProportionToTheirWeights(_ weights: [UInt32]) {
    let rule = rule(weights)
    var random = RoutingRandom(state: 7)
    let draws = 100_000
    var counts = weights.map { _ in 0 }
    for _ in 0..<draws { counts[rule.backend(using: &random) ?? 0] += 1 }
    for (weight, count) in zip(weights, counts) {
      let share = Double(weight) / Double(weights.reduce(0, +))
      // Five standard deviations of the binomial distribution.
      let tolerance = 5 * (Double(draws) * share * (1 - share)).squareRoot()
      #expect(abs(Double(count) - share * Double(draws)) <= tolerance)
    }
  }

  @Test func theEndsOfTheDraw() {
    #expect(rule([0, 3, 0]).backend(draw: 0) == 1)
    #expect(rule([0, 3, 0]).backend(draw: .max) == 1)
    #expect(rule([1, 1]).backend(draw: .max / 2) == 0)
    #expect(rule([1, 1]).backend(draw: .max / 2 + 1) == 1)
  }

  @Test func withoutWeightThereIsNoBackend() {
    #expect(rule([]).backend(draw: 1) == nil)
    #expect(rule([0, 0]).backend(draw: .max) == nil)
    #expect(rule([0, 0]).totalWeight == 0)
    #expect(rule([7, 8]).totalWeight == 15)
  }

  @Test func anInvalidBackendKeepsItsShare() {
    let rule = rule([1, 1], invalid: 1)
    #expect((0..<16).filter { rule.backend(draw: UInt64($0) << 60) == 1 }.count == 8)
    #expect(rule.rule.backends[1].invalid == "no such Service")
  }
}
