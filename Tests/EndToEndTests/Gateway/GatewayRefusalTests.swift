import Foundation
import Testing

/// Routes that can't be right: refused with file, line, field and reason, while the rest keeps working.
extension EndToEnd.GatewayTests {
  private static func match(_ match: String) -> String {
    "- matches: [{\(match)}]\n  backendRefs: [{name: one, port: 8080}]"
  }
  private static func timeouts(_ timeouts: String) -> String {
    "- timeouts: {\(timeouts)}\n  backendRefs: [{name: one, port: 8080}]"
  }

  static let bad: [(what: String, rules: String, said: [String])] = [
    (
      "an invalid expression", match(#"path: {type: RegularExpression, value: "/a("}"#),
      ["spec.rules[0].matches[0].path.value"]
    ),
    (
      "a catastrophic expression", match(#"path: {type: RegularExpression, value: "/(((a{900}){900}){900})"}"#),
      ["spec.rules[0].matches[0].path.value"]
    ),
    (
      "a back reference", match(#"headers: [{name: h, type: RegularExpression, value: "(a)\\1"}]"#),
      ["spec.rules[0].matches[0].headers[0].value"]
    ),
    (
      "an expression of a query", match(#"queryParams: [{name: q, type: RegularExpression, value: "["}]"#),
      ["spec.rules[0].matches[0].queryParams[0].value"]
    ),
    ("a duration that is too long", timeouts("request: 1194h"), ["spec.rules[0].timeouts.request", "out of range"]),
    ("a duration with a fraction", timeouts("request: 1.5s"), ["spec.rules[0].timeouts.request", "GEP-2257"]),
    ("a negative duration", timeouts("request: -1s"), ["spec.rules[0].timeouts.request"]),
    ("a duration without a unit", timeouts("request: 10"), ["spec.rules[0].timeouts.request"]),
    (
      "a try longer than its request", timeouts("request: 1s, backendRequest: 2s"),
      ["spec.rules[0].timeouts.backendRequest"]
    ),
    (
      "a weight that is too large", "- backendRefs: [{name: one, port: 8080, weight: 1000001}]",
      ["spec.rules[0].backendRefs[0].weight", "1000000"]
    ),
    (
      "a negative weight", "- backendRefs: [{name: one, port: 8080, weight: -1}]",
      ["spec.rules[0].backendRefs[0].weight"]
    ),
    ("a backend without a port", "- backendRefs: [{name: one}]", ["spec.rules[0].backendRefs[0]", "port"]),
    ("a path without a slash", match("path: {value: a/b}"), ["spec.rules[0].matches[0].path.value"]),
    ("a member that isn't there", match("pahts: {value: /}"), ["spec.rules[0].matches[0].pahts"]),
    (
      "a redirect with backends",
      "- filters: [{type: RequestRedirect, requestRedirect: {port: 1}}]\n  backendRefs: [{name: one, port: 8080}]",
      ["spec.rules[0].backendRefs[0]"]
    ),
    (
      "a status that redirects nowhere", "- filters: [{type: RequestRedirect, requestRedirect: {statusCode: 304}}]",
      ["statusCode"]
    ),
  ]

  @Test("what can't be right is refused with its place and reason, and other files go on")
  func refusals() throws {
    let objects = Self.bad.enumerated().map { index, one in route("bad-\(index)", one.rules) }
    let file = "refused.yaml"
    defer {
      remove(file)
      wait(5, for: "the refusals' end") { try self.objects(of: file).isEmpty }
    }
    // A file is one change: what is good in it waits for the rest.
    let beside = route("beside", "- backendRefs: [{name: two, port: 8080}]")
    try write(file, ([beside] + objects).joined(separator: "\n---\n"))
    let told = try self.objects(of: file)
    for (index, one) in Self.bad.enumerated() {
      let status = try #require(told.first { $0["name"].text == "bad-\(index)" }, "\(one.what)")
      #expect(status["accepted"].bool == false, "\(one.what): \(status)")
      let reason = status["reason"].text ?? ""
      #expect(reason.contains("\(file):"), "\(one.what): \(reason)")
      for part in one.said { #expect(reason.contains(part), "\(one.what): \(reason)") }
    }
    let waiting = told.first { $0["name"].text == "beside" } ?? .null
    #expect(waiting["accepted"].bool == false && waiting["reason"].text?.contains("bad-0") == true, "\(waiting)")
    // Other files go on, and may change.
    try with(route("- backendRefs: [{name: one, port: 8080}]")) {
      try expect([(.get(), .from("one"))])
      #expect(try tally(.get(), 40) == ["one": 40])
    }
    let done = try lab.apply(objects[0].replacing("bad-0", with: "applied"))
    #expect(done.status == 1 && (done.output + done.errors).contains("path.value"), "\(done.output)\(done.errors)")
    try lab.act("delete", "HTTPRoute/applied", "-n", "harbor")
  }

  @Test("a good route that becomes bad stays as it was; a filter that Weft lacks rejects its route by condition")
  func lastGood() throws {
    let file = "lasting.yaml"
    let good = route("lasting", "- backendRefs: [{name: one, port: 8080}]")
    defer {
      remove(file)
      wait(5, for: "the route's end") { try objects(of: file).isEmpty }
    }
    try write(file, good)
    try expect([(.get(), .from("one"))])
    try write(file, good.replacing("name: one", with: "nme: one"))
    wait(5, for: "the refusal") { try objects(of: file).contains { $0["accepted"].bool == false } }
    #expect(try tally(.get(), 40) == ["one": 40])
    try write(file, good.replacing("name: one", with: "name: two"))
    try expect([(.get(), .from("two"))])
    try write(
      file,
      route(
        "lasting",
        "- filters: [{type: ExtensionRef, extensionRef: {group: example.org, kind: Shed, name: x}}]\n"
          + "  backendRefs: [{name: two, port: 8080}]"))
    expectCondition("Accepted", "False/UnsupportedValue", of: "lasting", saying: "ExtensionRef")
  }

  @Test("an expression on which others take exponential time takes a request's usual time")
  func exponential() throws {
    try with(route(Self.match(#"path: {type: RegularExpression, value: "/(a|a|a?)*(a+)+(a*)*b"}"#))) {
      let long = "/" + String(repeating: "a", count: 4000)
      try expect([(.get("/aab"), .from("one")), (.get(long + "b"), .from("one")), (.get(long), .status(404))])
      let start = Date()
      #expect(try tally(.get(long), 40) == ["404": 40])
      #expect(Date().timeIntervalSince(start) < 20)
    }
  }
}
