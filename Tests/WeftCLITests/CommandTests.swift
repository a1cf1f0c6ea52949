import FoundationEssentials
import Testing

@testable import CLI

@Suite struct CommandTests {
  private static func render(_ arguments: String..., json: String, isUnicode: Bool = true) throws -> CommandResult {
    let command = try #require(try Weft.parseAsRoot(arguments) as? any AgentCommand)
    return try command.render(Data(json.utf8), Style(isUnicode: isUnicode))
  }

  @Test func optionsStandBeforeOrAfterTheCommand() throws {
    for arguments in [["-o", "json", "--node", "n1", "status"], ["status", "-o", "json", "--node", "n1"]] {
      let command = try #require(try Weft.parseAsRoot(arguments) as? Status)
      #expect(command.options.output == .json && command.options.node == "n1")
    }
    #expect(throws: (any Error).self) { try Weft.parseAsRoot(["status", "--node", "n", "--socket", "/s"]) }
  }

  @Test func status() throws {
    let result = try Self.render("status", json: Samples.status)
    #expect(result.status == .fine)
    #expect(
      result.text == """
        Node           n1
        Agent          1.2, since 2026-11-24T20:00:00Z
        Proxy          running, process 41, 1 restart
        Requests       1204, 1 retry, 7 answered by the proxy itself
        Control plane  connected to 10.200.0.1:15010 since 2026-11-24T20:00:01Z
        Snapshot       2 Service, 6 Workload, from the control plane
        Pods           3 enrolled, 1 pending, 0 failed
        Mesh           trust domain cluster.local, mutual TLS strict

        """)
  }

  @Test func statusOfPodsWithStubs() throws {
    let stub = #"{"uid":"shop/cart","mode":"handoff","reason":"its stub opens its sockets"}"#
    let result = try Self.render(
      "status", json: Samples.status.replacing(#""failed":0"#, with: #""failed":0,"stubs":[\#(stub)]"#))
    #expect(result.status == .fine)
    #expect(result.text.contains("\nStub           shop/cart, handoff: its stub opens its sockets\n"))
  }

  @Test func brokenStatus() throws {
    let result = try Self.render("status", json: Samples.brokenStatus)
    #expect(result.status == .unhealthy)
    #expect(result.text.contains("Proxy          stopped, 4 restarts\n"))
    #expect(result.text.contains("Requests       not known: the proxy doesn't answer\n"))
    #expect(result.text.contains("not connected to 10.200.0.1:15010: connection refused\n"))
    #expect(result.text.contains("nothing, restored from disk\n"))
    #expect(result.text.contains("Rejected       Service shop/a: no ports\\u{1B}[2J\n"))
  }

  @Test func workloads() throws {
    let result = try Self.render("workloads", json: Samples.workloads)
    #expect(result.status == .fine)
    #expect(
      result.text == """
        NAMESPACE  NAME   NODE  STATE     READY  ADDRESSES                 IDENTITY
        shop       web-0  n1    enrolled  yes    10.244.1.2,fd00:244:1::2  spiffe://cluster.local/ns/shop/sa/web
        shop       z      n2    unmeshed  no     10.244.2.2

        """)
    let failed = Samples.workloads.replacing(#""state":"enrolled""#, with: #""state":"failed""#)
    #expect(try Self.render("workloads", json: failed).status == .unhealthy)
    #expect(try Self.render("workloads", json: #"{"workloads":[]}"#).text == "The agent knows no workloads.\n")
  }

  @Test func services() throws {
    #expect(
      try Self.render("services", json: Samples.services).text == """
        NAMESPACE  NAME  ADDRESSES  PORTS                READY
        shop       db    headless                          0/0
        shop       web   10.96.0.7  80/tcp(http),53/udp    1/2

        """)
    #expect(
      try Self.render("services", "--endpoints", json: Samples.services).text == """
        NAMESPACE  NAME  WORKLOAD    NODE  READY  ADDRESS     PORTS
        shop       web   shop/web-0  n1    yes    10.244.1.2  53->53,80->8080
        shop       web   shop/web-1  n2    no     10.244.2.2  80->8080

        """)
  }

  @Test func connections() throws {
    let text = try Self.render("connections", json: Samples.connections).text
    let lines = text.split(separator: "\n").map { $0.split(separator: " ", omittingEmptySubsequences: true) }
    #expect(
      lines[0].joined(separator: " ")
        == "DIRECTION SOURCE DESTINATION SERVICE PEER PROTOCOL TLS SENT RECEIVED AGE STATE")
    #expect(
      lines[1].joined(separator: " ")
        == "outbound shop/web-0 shop/db-0 shop/db spiffe://td/ns/shop/sa/db hbone yes 1.5 KB 999 B 2m5s open")
    #expect(lines[2].joined(separator: " ") == "inbound 192.0.2.1:5 shop/web-0 tcp no 0 B 0 B 3s closing")
    #expect(
      lines[3].joined(separator: " ") == "outbound shop/web-0 10.96.0.7:80 shop/web http/1.1 no 1m1s established",
      "what isn't counted stays empty")
    #expect(text.hasSuffix("\nThe first 3 of 1200 connections.\n"))
  }

  @Test func identity() throws {
    let result = try Self.render("identity", json: Samples.identities)
    #expect(result.status == .fine)
    #expect(result.text.contains("spiffe://td/ns/shop/sa/web  valid"))
    #expect(result.text.contains("CN=Weft CA    2036-11-24T20:00:00Z\n"))
    let expired = Samples.identities.replacing(#""valid""#, with: #""expired""#)
    #expect(try Self.render("identity", json: expired).status == .unhealthy)
    #expect(try Self.render("identity", json: #"{"identities":[],"trust_bundle":[]}"#).status == .unhealthy)
  }

  @Test func bpf() throws {
    let result = try Self.render("bpf", json: Samples.bpf)
    #expect(result.status == .fine)
    #expect(result.text.contains("weft_flows   4  lru_hash      512      2048   25%\n"))
    let empty = try Self.render("bpf", json: #"{"programs":[],"links":[],"maps":[]}"#)
    #expect(empty.status == .unhealthy && empty.text.contains("no pod's traffic is captured"))
  }

  @Test func check() throws {
    let result = try Self.render("check", json: Samples.check)
    #expect(result.status == .unhealthy)
    #expect(
      result.text == """
        ✓ kernel     6.18.0
        ✗ cgroup v2  not mounted
                     how to repair it: mount it

        """)
    #expect(
      try Self.render("check", json: Samples.check, isUnicode: false).text.hasPrefix(
        "ok   kernel     6.18.0\nFAIL cgroup"))
  }

  @Test func checkWithoutAgent() throws {
    let failure = Failure(message: "Nobody there.", status: .unreachable)
    let local = [CheckAnswer.Entry(name: "kernel", ok: true, detail: "6.18.0", repair: nil)]
    let command = try #require(try Weft.parseAsRoot(["check"]) as? Check)
    let result = try command.withoutAgent(failure, local, Style(isUnicode: true))
    #expect(result.status == .unreachable)
    #expect(result.text.hasPrefix("✓ kernel  6.18.0\n✗ agent   Nobody there.\n"))
    let json = try #require(try Weft.parseAsRoot(["check", "-o", "json"]) as? Check)
    let answer: CheckAnswer = try AgentAnswer.decode(
      Data(try json.withoutAgent(failure, local, Style(isUnicode: true)).text.utf8), from: "")
    #expect(answer.checks.map(\.ok) == [true, false])
  }

  @Test func localChecksSayHowToRepair() {
    let checks = LocalChecks.run(cgroupRoot: "/nonexistent")
    #expect(checks.count > 5)
    #expect(checks.contains { $0.name == "cgroup v2" && !$0.ok })
    #expect(checks.allSatisfy { $0.ok || $0.repair?.isEmpty == false })
  }

  @Test func jsonIsTheAgents() throws {
    let result = try Self.render("status", "-o", "json", json: Samples.brokenStatus)
    #expect(result.status == .unhealthy, "the exit status doesn't depend on the format")
    #expect(result.text.contains(#""reason": "no ports\u001b[2J""#))
    #expect(try Self.render("dump", json: #"{"a":[1.50,{}]}"#).text == "{\n  \"a\": [\n    1.50,\n    {}\n  ]\n}")
  }

  @Test(arguments: [
    ("{", "it isn't JSON"), ("[]", "its top has another type"), (#"{"node":"n"}"#, "version is missing"),
    (Samples.status.replacing("41", with: "true"), "proxy.pid has another type"),
    (Samples.status.replacing(#""1.2""#, with: "null"), "version is null"),
  ]) func unreadableAnswers(_ json: String, _ reason: String) {
    let failure = #expect(throws: Failure.self) { try Self.render("status", json: json) }
    #expect(failure?.message.contains(reason) == true, "\(failure?.message ?? "")")
    #expect(failure?.status == .unhealthy)
  }
}
