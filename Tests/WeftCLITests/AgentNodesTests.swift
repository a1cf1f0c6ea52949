import Foundation
import KubernetesAPI
import Testing

@testable import CLI

/// Nodes without an agent: those that are left out, and those that aren't ready.
@Suite struct AgentNodesTests {
  private static func json(_ text: String) throws -> JSONNode { try JSONReader.read(Array(text.utf8)) }

  /// - Parameter ready: what its kubelet says of it; empty: nothing yet.
  private static func node(
    _ name: String, _ labels: String = "", ready: String = "True", kernel: String = "6.1.0"
  ) throws -> JSONNode {
    let conditions = ready.isEmpty ? "" : #"{"type":"Ready","status":"\#(ready)","message":"no CNI"}"#
    return try json(
      #"{"metadata":{"name":"\#(name)","labels":{\#(labels)}},"#
        + #""status":{"conditions":[\#(conditions)],"nodeInfo":{"kernelVersion":"\#(kernel)","operatingSystem":"linux"}}}"#
    )
  }

  private static func agent(_ node: String, _ revision: String = "new", ready: Bool = true) throws -> JSONNode {
    try json(
      #"{"metadata":{"name":"weft-agent-\#(node)","namespace":"weft-system","#
        + #""labels":{"app.kubernetes.io/name":"weft-agent","controller-revision-hash":"\#(revision)"}},"#
        + #""spec":{"nodeName":"\#(node)"},"status":{"phase":"Running","#
        + #""conditions":[{"type":"Ready","status":"\#(ready ? "True" : "False")"}]}}"#)
  }

  private static let leftOut = [
    #""weft.dev/agent":"disabled""#, #""type":"virtual-kubelet""#, #""eks.amazonaws.com/compute-type":"fargate""#,
  ]

  @Test func theDaemonSetLeavesOutWhatTheCommandsDo() throws {
    let agent = try #require(try Rendering().manifests().first { $0.identity.kind == .daemonSet })
    let terms = agent.content[AgentNodes.terms]?.elements ?? []
    #expect(terms.count == 1)
    let expected = AgentNodes.exclusions.map { key, value -> JSONNode in
      ["key": .text(key), "operator": "NotIn", "values": .array([.text(value)])]
    }
    let found = terms.first?["matchExpressions"]?.elements ?? []
    #expect(Set(found.map(Self.sorted)) == Set(expected.map(Self.sorted)))
    #expect(agent.content[["spec", "template", "spec", "nodeSelector"]] == ["kubernetes.io/os": "linux"])
    for labels in Self.leftOut { #expect(AgentNodes.isLeftOut(try Self.node("n", labels))) }
    #expect(try !AgentNodes.isLeftOut(Self.node("n", #""type":"worker","weft.dev/agent":"enabled""#)))
  }

  /// Members by name: kustomize has an order of its own.
  private static func sorted(_ node: JSONNode) -> JSONNode {
    .object(node.objectMembers.sorted { $0.key < $1.key })
  }

  @Test func cleaningReachesNodesThatWereLeftOutLater() throws {
    let agent = try #require(try Rendering().manifests().first { $0.identity.kind == .daemonSet })
    func terms(_ skipped: Set<String>) throws -> JSONNode? {
      try #require(NodeCleaning.manifest(from: agent, skipping: skipped)).content[AgentNodes.terms]?.elements.first
    }
    let term = try #require(try terms([]))
    #expect(
      term["matchExpressions"]?.elements.compactMap { $0["key"]?.text } == ["type", "eks.amazonaws.com/compute-type"])
    #expect(term["matchFields"] == nil)
    #expect(
      try terms(["b", "a"])?["matchFields"]?.elements.compactMap { $0["values"]?.elements.first?.text } == ["a", "b"],
      "a requirement takes one name")
  }

  // MARK: Rollout

  private static func rollout(
    updated: Int, available: Int, _ pods: [JSONNode], unready: Set<String> = ["c"]
  ) throws -> Rollout {
    let status =
      #"{"observedGeneration":1,"desiredNumberScheduled":3,"updatedNumberScheduled":\#(updated),"numberAvailable":\#(available)}"#
    return Rollout.of(
      daemonSet: try json(#"{"metadata":{"generation":1},"status":\#(status)}"#), pods: pods, revision: "new",
      unready: unready)
  }

  @Test func anInstallationEndsWithoutTheNodeThatIsNotReady() throws {
    let pods = [try Self.agent("a"), try Self.agent("b"), try Self.agent("c", ready: false)]
    let done = try Self.rollout(updated: 3, available: 2, pods)
    #expect(done.isDone && done.late == ["c"] && done.ready == 2 && done.wanted == 3)
    #expect(try !Self.rollout(updated: 3, available: 2, pods, unready: []).isDone)
    // Another one is missing too.
    #expect(try !Self.rollout(updated: 3, available: 1, pods).isDone)
    // It runs there all the same.
    let runs = try Self.rollout(updated: 3, available: 3, [Self.agent("a"), Self.agent("b"), Self.agent("c")])
    #expect(runs.isDone && runs.late.isEmpty)
  }

  @Test func anUpgradeEndsOnlyOnceTheOthersAreNew() throws {
    let stuck = try Self.agent("c", "old", ready: false)
    #expect(try !Self.rollout(updated: 1, available: 2, [Self.agent("a"), Self.agent("b", "old"), stuck]).isDone)
    #expect(try Self.rollout(updated: 2, available: 2, [Self.agent("a"), Self.agent("b"), stuck]).isDone)
    // Of two that are new one is on the node that isn't ready.
    let new = try Self.agent("c", ready: false)
    #expect(try !Self.rollout(updated: 2, available: 2, [Self.agent("a"), Self.agent("b", "old"), new]).isDone)
    // Two are available, and one of them is an old one there.
    let running = try Self.agent("c", "old")
    #expect(
      try !Self.rollout(updated: 2, available: 2, [Self.agent("a"), Self.agent("b", ready: false), running]).isDone)
    let unseen = try Self.json(#"{"metadata":{"generation":2},"status":{"observedGeneration":1}}"#)
    #expect(!Rollout.of(daemonSet: unseen, pods: [], revision: "", unready: ["c"]).isDone)
  }

  // MARK: Uninstall

  @Test func nodesAreSkippedByNameOrAll() throws {
    func skipped(_ arguments: String...) throws -> SkippedNodes? {
      let command = try #require(try Weft.parseAsRoot(["uninstall"] + arguments) as? Uninstall)
      return SkippedNodes(command.skipNodes)
    }
    #expect(try skipped() == .named([]))
    #expect(try skipped("--skip-nodes", "all") == .all)
    #expect(try skipped("--skip-nodes", "a,b.example", "--crds") == .named(["a", "b.example"]))
    for wrong in ["", "a,", "A_B", "a b"] {
      #expect(throws: (any Error).self) { try skipped("--skip-nodes", wrong) }
    }
    // As of a variable that is empty: not all of them by mistake.
    #expect(throws: (any Error).self) { try skipped("--skip-nodes=") }
    #expect(SkippedNodes.all.contains("n") && !SkippedNodes.named(["a"]).contains("n"))
  }

  // MARK: Checks

  @Test func nodesThatAreLeftOutAreNoProblem() throws {
    var facts = ClusterFacts(now: Date())
    facts.daemonSet = .found([:])
    var nodes = [try Self.node("n1")]
    for (index, labels) in Self.leftOut.enumerated() {
      nodes.append(try Self.node("out-\(index)", labels, ready: "Unknown", kernel: "4.4.0"))
    }
    facts.nodes = .found(nodes)
    facts.pods = .found([try Self.agent("n1")])
    #expect(
      NodeChecks.coverage(facts) == [
        .ok("agents", "1 of 1 nodes have one"),
        .ok("agents", "3 nodes without an agent by choice: out-0, out-1, out-2; pods there need stubs"),
      ])
    #expect(NodeChecks.kernels(facts).map(\.severity) == [.ok])
    let check = Preflight.kernels(nodes)
    #expect(
      check.ok
        && check.detail.hasSuffix("3 nodes without an agent by choice: out-0, out-1, out-2; pods there need stubs"))
  }

  @Test func aNodeThatCanNotRunOneMayBeLeftOut() throws {
    var facts = ClusterFacts(now: Date())
    facts.daemonSet = .found([:])
    facts.nodes = .found([try Self.node("n1", kernel: "4.4.0"), try Self.node("n2")])
    facts.pods = .found([try Self.agent("n1", ready: false)])
    let findings = NodeChecks.coverage(facts) + NodeChecks.kernels(facts)
    #expect(findings.map(\.place) == ["node n1", "node n2", "node n1"])
    for finding in findings {
      #expect(finding.severity == .error)
      #expect(finding.repair.contains("kubectl label \(finding.place) weft.dev/agent=disabled"), "\(finding.repair)")
    }
  }

  @Test func aNodeThatIsNotReadyIsAWarning() throws {
    var facts = ClusterFacts(now: Date())
    facts.daemonSet = .found([:])
    facts.nodes = .found([try Self.node("n1", ready: ""), try Self.node("n2", ready: "False")])
    facts.pods = .found([try Self.agent("n1"), try Self.agent("n2", ready: false)])
    let failure = Failure(message: "no answer", status: .unreachable)
    facts.agents = [.init(node: "n1", status: .failure(failure)), .init(node: "n2", status: .failure(failure))]
    let findings = NodeChecks.coverage(facts)
    #expect(findings.map(\.severity) == [.warning] && findings.map(\.place) == ["node n2"])
    #expect(findings.first?.reason == "isn't ready (no CNI); its agent follows by itself once it is")
    #expect(NodeChecks.agents(facts).map(\.place) == ["node n1"])
  }
}
