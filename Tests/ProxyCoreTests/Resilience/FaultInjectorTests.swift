import MeshModel
import Testing

@testable import ProxyCore

@Suite struct FaultInjectorTests {
  /// 20 % delayed, 5 % aborted, independently; 5 standard deviations.
  @Test func shares() {
    var random = SeededRandom(state: 111)
    let injector = FaultInjector([
      Fault(effect: .delay(300), perTenThousand: 2000), Fault(effect: .abort(503), perTenThousand: 500),
    ])
    var delayed = 0
    var aborted = 0
    var both = 0
    for _ in 0..<100_000 {
      let injection = injector.draw(random: &random) { _ in false }
      #expect([0, .milliseconds(300)].contains(injection.delay))
      delayed += injection.delay > 0 ? 1 : 0
      aborted += injection.abort == .status(503) ? 1 : 0
      both += injection.delay > 0 && injection.abort != nil ? 1 : 0
    }
    #expect(abs(delayed - 20_000) < 632)
    #expect(abs(aborted - 5000) < 345)
    #expect(abs(both - 1000) < 157)
  }

  @Test func conditions() {
    var random = SeededRandom(state: 112)
    let header = RouteMatch.Value(name: "x-test", value: "1")
    let injector = FaultInjector([
      Fault(effect: .abortGRPC(14), header: header), Fault(effect: .delay(5)), Fault(effect: .delay(9)),
      Fault(effect: .abort(500), perTenThousand: 0), Fault(effect: .abort(418)),
    ])
    var asked: [Int] = []
    let with = injector.draw(random: &random) {
      asked.append($0)
      return true
    }
    #expect(asked == [0])
    #expect(with == .init(delay: .milliseconds(9), abort: .grpc(14)))
    let without = injector.draw(random: &random) { _ in false }
    #expect(without == .init(delay: .milliseconds(9), abort: .status(418)))
    #expect(FaultInjector([]).draw(random: &random) { _ in true } == .init())
  }
}
