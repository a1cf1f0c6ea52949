import FoundationEssentials
import Testing

@testable import CLI

@Suite struct TrafficCommandTests {
  private static func render(_ arguments: String..., json: String) throws -> CommandResult {
    let command = try #require(try Weft.parseAsRoot(arguments) as? any AgentCommand)
    return try command.render(Data(json.utf8), Style(isUnicode: true))
  }

  /// The cells of each line, whatever their width.
  private static func lines(_ text: String) -> [String] {
    text.split(separator: "\n").map { $0.split(separator: " ").joined(separator: " ") }
  }

  @Test func routes() throws {
    let result = try Self.render("routes", json: Samples.routes)
    #expect(result.status == .unhealthy, "a backend is invalid")
    #expect(
      Self.lines(result.text) == [
        "KIND ROUTE PARENTS HOSTNAMES RULE MATCHES BACKENDS FILTERS SETTINGS",
        "HTTPRoute shop/web shop/web:80 producer, other/web consumer 1/2 = /a and header x = 1 or GET /b "
          + "shop/v1:80 (90), shop/v2:81 (10; invalid: no such Service; CORS for *) rewrite path to /c",
        "2/2 any request 5s", "TLSRoute shop/empty a.example 0/0", "The first 2 rules of 2 of 3 routes.",
      ])
    let valid = Samples.routes.replacing("no such Service", with: "").replacing(#""total":3"#, with: #""total":2"#)
    #expect(try Self.render("routes", json: valid).status == .fine)
    #expect(try !Self.render("routes", json: valid).text.contains("The first"))
    let cut = valid.replacing(#""rule_count":2"#, with: #""rule_count":5"#)
      .replacing(#""backend_count":2"#, with: #""backend_count":9"#)
    let text = try Self.render("routes", json: cut).text
    #expect(text.contains("CORS for *), and 7 more") && text.contains("1/5") && text.contains("The first 2 rules of 2"))
    let none = try Self.render("routes", json: #"{"total":0,"routes":[]}"#)
    #expect(none.text == "No route is in force: requests go to the Services that they name.\n" && none.status == .fine)
  }

  @Test func policies() throws {
    let result = try Self.render("policies", json: Samples.policies)
    #expect(result.status == .fine)
    #expect(
      Self.lines(result.text) == [
        "POLICY TARGETS CLIENTS SETTING VALUE", "shop/web shop/web:80, HTTPRoute/shop/web a/b retry 2 times on 503",
        "timeouts request 5s", "shop/z shop/z all none",
      ])
    let more = Samples.policies.replacing(#""total":2"#, with: #""total":1200"#)
    #expect(try Self.render("policies", json: more).text.hasSuffix("\nThe first 2 of 1200 policies.\n"))
    #expect(
      try Self.render("policies", json: #"{"total":0,"policies":[]}"#).text
        == "No TrafficPolicy is in force: the defaults hold.\n")
  }

  @Test func endpoints() throws {
    let result = try Self.render("endpoints", json: Samples.endpoints)
    #expect(result.status == .unhealthy, "two are ejected")
    #expect(
      Self.lines(result.text) == [
        "SERVICE ADDRESS WORKLOAD STATE WEIGHT LOCALITY TRANSPORT EJECTIONS REQUESTS CONNECTIONS LATENCY",
        "shop/web:80 10.244.1.2:8080 shop/web-0 ready, ejected for 28s by 1 of 2 1 node delivery 3 4 1.5 ms",
        "shop/web:80 10.244.2.2:8080 shop/web-1 ready, ejected for 1m30s, used in panic 1 other tunnel 1 0 2",
        "shop/web:80 10.244.2.3:8080 shop/web-2 draining 0 zone plaintext",
      ])
    let calm = Samples.endpoints.replacing(#""ejected":1"#, with: #""ejected":0"#)
      .replacing(#""truncated":false"#, with: #""truncated":true"#)
    let text = try Self.render("endpoints", json: calm)
    #expect(text.status == .fine && text.text.hasSuffix("\nThe first 3 endpoints: name a Service to see its own.\n"))
    let none = #"{"truncated":false,"endpoints":[]}"#
    #expect(try Self.render("endpoints", json: none).text == "No Service has an endpoint.\n")
    #expect(try Self.render("endpoints", "shop/web", json: none).text == "shop/web has no endpoint.\n")
  }

  @Test func oneServicesEndpoints() throws {
    let all = try #require(try Weft.parseAsRoot(["endpoints"]) as? Endpoints)
    #expect(all.question == "/v1/endpoints")
    let one = try #require(try Weft.parseAsRoot(["endpoints", "shop/web", "-o", "json"]) as? Endpoints)
    #expect(one.question == "/v1/endpoints/shop/web" && one.options.output == .json)
  }

  @Test(arguments: ["web", "", "shop/", "/web", "a/b/c", "../web", "shop/we b", "SHOP/web"])
  func noService(_ name: String) async throws {
    #expect(throws: (any Error).self) { try Weft.parseAsRoot(["endpoints", name]) }
    #expect(await Program.run(["endpoints", name]) == ExitStatus.usage.rawValue)
  }
}
