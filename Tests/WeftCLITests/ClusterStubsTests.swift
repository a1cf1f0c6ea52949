import Foundation
import KubernetesAPI
import Testing

@testable import CLI

/// Stubs of nodes without an agent.
@Suite struct ClusterStubsTests {
  private static func pod(_ name: String, node: String = "n1", kind: String = "tunnel", phase: String = "Running")
    throws
    -> JSONNode
  {
    try JSONReader.read(
      Array(
        """
        {"metadata":{"name":"\(name)","namespace":"shop","annotations":{"weft.dev/injected":"\(kind)"}},
        "spec":{"nodeName":"\(node)"},"status":{"phase":"\(phase)"}}
        """.utf8))
  }

  private static let ready = """
    {"mode":"tunnel","pod":"shop/a","identity":"spiffe://cluster.local/ns/shop/sa/web","ready":true,
    "certificate_expires":"2027-01-01T00:00:00Z","certificate_error":null,"mutual_tls":"STRICT",
    "control":{"address":"10.0.0.1:15010","connected":true,"error":null,"workloads":4,"services":3,"rejected":0},
    "connections":{"inbound":2,"outbound":1,"established":9},"resident_bytes":3565158}
    """

  private static func render(_ stubs: [NodeAnswer], _ arguments: [String] = []) throws -> CommandResult {
    let command = try #require(try Weft.parseAsRoot(["status"] + arguments) as? Status)
    return try command.render(agents: [], stubs: stubs, Style(isUnicode: true))
  }

  @Test func runningTunnelStubsAreFound() throws {
    let pods = [
      try Self.pod("b"), try Self.pod("a", node: "n2"), try Self.pod("c", kind: "handoff"),
      try Self.pod("d", phase: "Pending"), try JSONReader.read(Array(#"{"metadata":{"name":"e"}}"#.utf8)),
    ]
    #expect(
      pods.compactMap(ClusterStubs.stub(of:)).map { "\($0.namespace)/\($0.name) \($0.node)" } == [
        "shop/b n1", "shop/a n2",
      ])
  }

  @Test func aStubThatIsReadyIsFine() throws {
    let result = try Self.render([NodeAnswer(node: "n1", pod: "shop/a", outcome: .success(Data(Self.ready.utf8)))])
    #expect(result.status == .fine)
    for word in ["shop/a", "n1", "tunnel", "ready", "spiffe://cluster.local/ns/shop/sa/web", "connected"] {
      #expect(result.text.contains(word), "\(result.text)")
    }
  }

  @Test func oneThatIsNotSaysWhy() throws {
    let reason = "no certificate: the token isn't one of a ServiceAccount"
    let waiting = Self.ready.replacingOccurrences(of: #""ready":true,"#, with: #""ready":false,"reason":"\#(reason)","#)
    let result = try Self.render([
      NodeAnswer(node: "n1", pod: "shop/a", outcome: .success(Data(waiting.utf8))),
      NodeAnswer(node: "n1", pod: "shop/b", outcome: .failure(Failure(message: "no route", status: .unreachable))),
      NodeAnswer(node: "n1", pod: "shop/c", outcome: .success(Data("{".utf8))),
    ])
    #expect(result.status == .unhealthy)
    #expect(result.text.contains(reason) && result.text.contains("not ready"))
    #expect(result.text.contains("no route") && result.text.contains("not known"))
  }

  @Test func whereNoneAnswersTheStatusSaysSo() throws {
    let away = NodeAnswer(
      node: "n1", pod: "shop/b", outcome: .failure(Failure(message: "no route", status: .unreachable)))
    #expect(try Self.render([away]).status == .unreachable)
  }

  @Test func jsonTellsThePod() throws {
    let result = try Self.render(
      [NodeAnswer(node: "n1", pod: "shop/a", outcome: .success(Data(Self.ready.utf8)))], ["-o", "json"])
    let entries = try JSONReader.read(Array(result.text.utf8)).elements
    #expect(entries.map { $0["pod"]?.text } == ["shop/a"])
    #expect(entries[0]["answer"]?["mode"]?.text == "tunnel")
  }
}
