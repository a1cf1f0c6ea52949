import Foundation
import KubernetesAPI
import Testing

@testable import CLI

@Suite struct ClusterTransportTests {
  static func json(_ text: String) throws -> JSONNode { try JSONReader.read(Array(text.utf8)) }

  // MARK: Whom to ask

  private static func source(_ arguments: [String], hasCluster: Bool = true, sockets: [String] = []) throws
    -> AgentSource
  {
    let machine = AgentSource.Machine(
      sockets: .init(environment: { _ in nil }, entries: { _ in [] }, exists: sockets.contains), hasCluster: hasCluster)
    return try AgentSource.choose(try GlobalOptions.parse(arguments), on: machine)
  }

  @Test func aSocketWhereOneIsThere() throws {
    let standard = AgentSocket.standardPath
    #expect(try Self.source([], sockets: [standard]) == .socket(standard))
    #expect(try Self.source(["-n", "shop"], sockets: [standard]) == .socket(standard))
    #expect(try Self.source(["--socket", "/a"]) == .socket("/a"))
    #expect(
      try Self.source(["--node", "n1"], sockets: ["/run/weft/n1/agent.sock"]) == .socket("/run/weft/n1/agent.sock"))
    #expect(try Self.source([], hasCluster: false) == .socket(standard), "its failure says what to do")
  }

  @Test(arguments: [["-A"], ["--context", "c"], ["--kubeconfig", "/k"], ["--pod", "shop/till"]])
  func aClusterThatIsNamed(_ arguments: [String]) throws {
    #expect(try Self.source(arguments, sockets: [AgentSocket.standardPath]) == .cluster)
  }

  @Test(arguments: [[], ["--node", "n1"], ["-n", "shop"]]) func aClusterWhereNoSocketIs(_ arguments: [String]) throws {
    #expect(try Self.source(arguments) == .cluster)
  }

  @Test(arguments: [
    ["--node", "a", "-A"], ["--pod", "a", "-A"], ["--node", "a", "--pod", "b"], ["--socket", "/s", "-A"],
    ["--socket", "/s", "--context", "c"], ["-n", "a/b"], ["-n", ""],
  ]) func whatExcludesEachOther(_ arguments: [String]) {
    #expect(throws: (any Error).self) { try GlobalOptions.parse(arguments) }
  }

  @Test func optionsOfAClusterStandBeforeOrAfterTheCommand() throws {
    for arguments in [["--context", "c", "install"], ["install", "--context", "c"]] {
      let command = try #require(try Weft.parseAsRoot(arguments) as? Install)
      #expect(command.options.kubeconfig.context == "c")
    }
  }

  // MARK: Pods

  @Test func podsAsTheyAreNamed() throws {
    let till = try #require(PodReference("till"))
    #expect(till.namespace == nil && till.owner == nil && till.name == "till")
    let named = try #require(PodReference("shop/till"))
    #expect(named.namespace == "shop" && named.owner == nil && named.name == "till")
    let owned = try #require(PodReference("shop/deploy/till"))
    #expect(owned.namespace == "shop" && owned.owner == .deployment && owned.name == "till")
    #expect(PodReference("sts/db")?.owner == .statefulSet)
    #expect(PodReference("pod/db")?.namespace == nil)
  }

  @Test(arguments: ["", "/", "a/", "/a", "a/b/c/d", "a/b/c", "Shop/till", "shop/till\u{1b}", "../till"])
  func whatNamesNoPod(_ text: String) {
    #expect(PodReference(text) == nil)
  }

  @Test func aDeploymentsPods() throws {
    let pod = try Self.json(
      #"{"metadata":{"name":"till-5d-x","labels":{"pod-template-hash":"5d"},"ownerReferences":[{"kind":"ReplicaSet","name":"till-5d"}]}}"#
    )
    for text in ["deploy/till", "rs/till-5d", "till-5d-x"] {
      #expect(PodReference(text)?.matches(pod) == true, "\(text)")
    }
    for text in ["deploy/til", "deploy/till-5d", "ds/till-5d", "till"] {
      #expect(PodReference(text)?.matches(pod) == false, "\(text)")
    }
  }

  @Test func agentsOfPods() throws {
    func pod(_ name: String, _ node: String, _ phase: String = "Running", ends: Bool = false) throws -> JSONNode {
      let end = ends ? #","deletionTimestamp":"2026-01-01T00:00:00Z""# : ""
      return try Self.json(
        #"{"metadata":{"name":"\#(name)"\#(end)},"spec":{"nodeName":"\#(node)"},"status":{"phase":"\#(phase)"}}"#)
    }
    let pods = try [
      pod("b", "west"), pod("a", "east"), pod("c", "north", "Pending"), pod("d", "east", ends: true), Self.json("{}"),
    ]
    #expect(ClusterAgents.agents(of: pods) == [.init(node: "east", pod: "a"), .init(node: "west", pod: "b")])
  }

  // MARK: What exec brings

  @Test func answersOfExec() throws {
    func body(_ status: Int, _ output: String = "{}", _ errors: String = "") throws -> Data {
      try AgentExec.body(
        of: .init(output: Array(output.utf8), errors: Array(errors.utf8), status: status), "/v1/status")
    }
    #expect(try body(0) == Data("{}".utf8))
    let refused = #expect(throws: Failure.self) { try body(1, #"{"error":"no \u001bproxy"}"#) }
    #expect(refused?.message.contains("no \\u{1B}proxy") == true && refused?.status == .unhealthy)
    let away = #expect(throws: Failure.self) { try body(3, "", "weft-agent: nobody\nmore") }
    #expect(away?.message == "weft-agent: nobody" && away?.status == .unreachable)
    let other = #expect(throws: Failure.self) { try body(64, "", "Error: Unexpected argument 'admin'") }
    #expect(other?.message.contains("same version") == true)
  }

  @Test func refusalsNameTheRole() {
    let failure = AgentExec.failure(.api(.refused(403, "pods is forbidden")), "weft-agent-x")
    #expect(failure.message.contains("--clusterrole=weft-inspect") && failure.message.contains("pods is forbidden"))
    #expect(AgentExec.failure(.api(.unreachable("x")), "p").status == .unreachable)
  }

  // MARK: Several answers

  @Test func merging() throws {
    let merged = MergedAnswer.merge([
      ("east", try Self.json(#"{"total":3,"truncated":false,"routes":[{"name":"a"}],"x":"1"}"#)),
      ("west", try Self.json(#"{"total":4,"truncated":true,"routes":[{"name":"b"},{"name":"c"}],"x":"2","y":[]}"#)),
    ])
    #expect(
      String(decoding: merged.bytes, as: UTF8.self)
        == #"{"total":7,"truncated":true,"routes":[{"agent":"east","name":"a"},{"agent":"west","name":"b"},"#
        + #"{"agent":"west","name":"c"}],"x":"1","y":[]}"#)
  }

  @Test func filtering() throws {
    let content = try Self.json(
      #"{"n":1,"a":[{"namespace":"shop"},{"namespace":"bank"}],"b":[{"service":"shop/web"},{"service":"bank/web"}],"#
        + #""c":[{"source":"bank/x","destination":"shop/y"},{"source":"bank/x","destination":""}],"#
        + #""d":[{"spiffe_id":"spiffe://td/ns/shop/sa/a"},{"spiffe_id":"spiffe://td/ns/shopping/sa/a"}],"e":[{"name":"weft_maps"}]}"#
    )
    let left = MergedAnswer.filter(content, namespace: "shop")
    #expect(["a", "b", "c", "d", "e"].map { left[$0]?.elements.count } == [1, 1, 1, 1, 1])
    #expect(left["n"]?.integer == 1)
  }

  private static func renderAll(_ arguments: [String], _ answers: [(String, Result<String, Failure>)]) throws
    -> CommandResult
  {
    let command = try #require(try Weft.parseAsRoot(arguments) as? any AgentCommand)
    return try command.renderAll(
      answers.map { NodeAnswer(node: $0.0, outcome: $0.1.map { Data($0.utf8) }) }, Style(isUnicode: true))
  }

  @Test func aColumnTellsTheNode() throws {
    let result = try Self.renderAll(
      ["policies"], [("east", .success(Samples.policies)), ("west", .success(Samples.policies))])
    #expect(result.status == .fine)
    #expect(result.text.hasPrefix("NODE  POLICY"))
    #expect(result.text.contains("\nwest  shop/web"))
    let one = try Self.renderAll(["policies"], [("east", .success(Samples.policies))])
    #expect(one.text.hasPrefix("POLICY"), "of one agent it is as on its node")
  }

  @Test func eachAgentTellsOfItsOwnPods() throws {
    let other = Samples.workloads.replacing("web-0", with: "web-9")
    let result = try Self.renderAll(["workloads"], [("n1", .success(Samples.workloads)), ("n2", .success(other))])
    #expect(result.text.contains("web-0") && result.text.contains("web-9"))
    #expect(!result.text.contains("unmeshed"), "what is remote is another agent's")
  }

  @Test func aRowForEachNodesStatus() throws {
    let result = try Self.renderAll(
      ["status"], [("n1", .success(Samples.status)), ("n2", .success(Samples.brokenStatus))])
    #expect(result.status == .unhealthy)
    let lines = result.text.split(separator: "\n").map { $0.split(separator: " ").joined(separator: " ") }
    #expect(lines[0] == "NODE AGENT PROXY RESTARTS CONTROL PLANE ENROLLED PENDING FAILED REJECTED REQUESTS")
    #expect(lines[1] == "n1 1.2 running 1 connected 3 1 0 0 1204")
    #expect(lines[2] == "n2 1.2 stopped 4 away: connection refused 0 0 2 1")
  }

  @Test func anAgentWithoutAnAnswer() throws {
    let failure = Failure(message: "it is away", status: .unreachable)
    let some = try Self.renderAll(["policies"], [("east", .success(Samples.policies)), ("west", .failure(failure))])
    #expect(some.status == .unhealthy && some.text.hasSuffix("\nwest: it is away\n") && some.text.contains("shop/web"))
    let none = try Self.renderAll(["policies"], [("west", .failure(failure))])
    #expect(none.status == .unreachable && none.text == "west: it is away\n")
    let json = try Self.renderAll(
      ["policies", "-o", "json"], [("east", .success(#"{"total":0,"policies":[]}"#)), ("west", .failure(failure))])
    let answers = try Self.json(json.text).elements
    #expect(answers.map { $0["node"]?.text } == ["east", "west"])
    #expect(answers[0]["answer"]?["total"]?.integer == 0 && answers[1]["error"]?.text == "it is away")
  }

  @Test func aDumpIsJSONAlways() throws {
    let result = try Self.renderAll(["dump"], [("east", .success(#"{"a":1.50}"#))])
    #expect(result.text.contains(#""a": 1.50"#))
  }

  // MARK: Versions

  @Test func versions() throws {
    let command = try #require(try Weft.parseAsRoot(["version"]) as? Version)
    let same = [
      Version.Entry(program: "client", place: "", version: "1"), .init(program: "agent", place: "n", version: "1"),
    ]
    #expect(try command.render(same).status == .fine)
    let other = same + [.init(program: "control", place: "p", problem: "it is away")]
    let result = try command.render(other)
    #expect(result.status == .unhealthy && result.text.contains("control  p      not known  it is away"))
  }

  @Test(
    arguments: [
      ("ghcr.io/weft-mesh/weft-control:0.2.0", "0.2.0"), ("localhost:5000/weft-control", nil), ("a:1@sha256:00", "1"),
      ("a@sha256:00", nil), ("", nil),
    ] as [(String, String?)]) func versionsOfImages(_ image: String, _ tag: String?) throws
  {
    #expect(
      ControlVersion.tag(of: try Self.json(#"{"spec":{"containers":[{"name":"weft-control","image":"\#(image)"}]}}"#))
        == tag)
  }

  @Test(arguments: ["bash", "zsh", "fish"]) func completions(_ shell: String) throws {
    let command = try #require(try Weft.parseAsRoot(["completion", shell]) as? Completion)
    let script = Weft.completionScript(for: command.shell.kind)
    #expect(script.contains("workloads") && script.contains("kubectl get namespaces"))
    guard shell == "bash" else { return }
    let reader = try #require(popen("bash -n", "w"))
    fputs(script, reader)
    #expect(pclose(reader) == 0, "bash can't read it")
  }
}
