import Injection
import KubernetesAPI
import Testing

@Suite struct StubChoiceTests {
  private func choice(
    pod: [String: String] = [:], account: [String: String] = [:],
    namespace: [String: String] = ["weft.dev/mesh": "enabled"],
    kinds: [[String: String]] = [[:], [:], [:]]
  ) throws -> StubChoice {
    try StubChoice(
      pod: ObjectMarks(labels: pod, annotations: kinds[0]),
      account: ObjectMarks(labels: account, annotations: kinds[1]),
      namespace: ObjectMarks(labels: namespace, annotations: kinds[2]))
  }

  private let stub = ["weft.dev/mode": "stub"]
  private let node = ["weft.dev/mode": "node"]
  private let meshedStub = ["weft.dev/mesh": "enabled", "weft.dev/mode": "stub"]

  @Test func eachMayOptIn() throws {
    #expect(try choice() == .none(warning: nil))
    #expect(try choice(pod: stub) == .stub(.tunnel))
    #expect(try choice(account: stub) == .stub(.tunnel))
    #expect(try choice(namespace: meshedStub) == .stub(.tunnel))
  }

  @Test func theNarrowerGoesFirst() throws {
    #expect(try choice(pod: node, account: stub, namespace: meshedStub) == .none(warning: nil))
    #expect(try choice(account: node, namespace: meshedStub) == .none(warning: nil))
    #expect(try choice(pod: stub, account: node) == .stub(.tunnel))
  }

  @Test func theKindIsChosenAlike() throws {
    let (handoff, tunnel) = (["weft.dev/stub": "handoff"], ["weft.dev/stub": "tunnel"])
    #expect(try choice(pod: stub, kinds: [handoff, tunnel, tunnel]) == .stub(.handoff))
    #expect(try choice(pod: stub, kinds: [[:], handoff, tunnel]) == .stub(.handoff))
    #expect(try choice(pod: stub, kinds: [[:], [:], handoff]) == .stub(.handoff))
  }

  @Test func outsideTheMeshThereIsNoneAndThatIsSaid() throws {
    for (pod, namespace) in [(stub, [:]), (["weft.dev/mesh": "disabled", "weft.dev/mode": "stub"], meshedStub)] {
      guard case .none(warning: let warning?) = try choice(pod: pod, namespace: namespace) else {
        Issue.record("no warning")
        continue
      }
      #expect(warning.contains("weft.dev/mesh: enabled"))
    }
  }

  @Test func aPodsOwnMistakeIsRefusedAndOthersAreUnsaid() throws {
    #expect(throws: InjectionRefusal.self) { try choice(pod: ["weft.dev/mode": "sidecar"]) }
    #expect(throws: InjectionRefusal.self) { try choice(pod: stub, kinds: [["weft.dev/stub": "x"], [:], [:]]) }
    #expect(try choice(account: ["weft.dev/mode": "sidecar"], namespace: meshedStub) == .stub(.tunnel))
    #expect(try choice(pod: stub, kinds: [[:], ["weft.dev/stub": "x"], [:]]) == .stub(.tunnel))
  }
}
