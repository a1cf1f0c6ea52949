import Testing

@testable import CLI

@Suite struct AgentSocketTests {
  private static func path(
    _ arguments: [String], environment: [String: String] = [:], labs: [String] = [], sockets: [String] = []
  ) throws -> String {
    let machine = AgentSocket.Machine(
      environment: { environment[$0] }, entries: { $0 == "/run/weft-lab" ? labs : [] },
      exists: { sockets.contains($0) })
    return try AgentSocket.path(try GlobalOptions.parse(arguments), on: machine)
  }

  private static func inLab(_ lab: String) -> String { "/run/weft-lab/\(lab)/nodes/n1/run/agent.sock" }

  @Test func withoutANode() throws {
    #expect(try Self.path([]) == "/run/weft/agent.sock")
    #expect(try Self.path([], environment: ["WEFT_SOCKET": ""]) == "/run/weft/agent.sock")
    #expect(try Self.path([], environment: ["WEFT_SOCKET": "/a"]) == "/a")
    #expect(try Self.path(["--socket", "/b"], environment: ["WEFT_SOCKET": "/a"]) == "/b")
  }

  @Test func byNode() throws {
    let both = [Self.inLab("a"), Self.inLab("b")]
    #expect(try Self.path(["--node", "n1"]) == "/run/weft/n1/agent.sock")
    #expect(try Self.path(["--node", "n1"], labs: ["a", "b"]) == "/run/weft/n1/agent.sock")
    #expect(try Self.path(["--node", "n1"], labs: ["a", "b"], sockets: [both[1]]) == both[1])
    #expect(
      try Self.path(["--node", "n1"], environment: ["WEFT_LAB": "b"], labs: ["a", "b"], sockets: both) == both[1])
    let failure = #expect(throws: Failure.self) { try Self.path(["--node", "n1"], labs: ["a", "b"], sockets: both) }
    #expect(failure?.status == .usage && failure?.message.contains("WEFT_LAB") == true)
  }

  @Test func adviceNamesLabs() throws {
    let machine = AgentSocket.Machine(
      environment: { _ in nil },
      entries: { ["/run/weft-lab": ["a"], "/run/weft-lab/a/nodes": ["n1", "n2"]][$0] ?? [] },
      exists: { $0 == Self.inLab("a") })
    #expect(AgentSocket.advice(try GlobalOptions.parse([]), on: machine).hasSuffix("--node n1"))
    #expect(AgentSocket.advice(try GlobalOptions.parse(["--node", "n3"]), on: machine).hasPrefix("Start weft-agent"))
  }

  @Test(arguments: ["../n1", "", "a/b", "N1", "n1\u{1b}"]) func wrongNames(_ node: String) {
    let failure = #expect(throws: Failure.self) { try Self.path(["--node", node]) }
    #expect(failure?.status == .usage)
  }
}
