import Testing

/// Which rule a request gets.
extension EndToEnd.GatewayTests {
  @Test("a route without matches takes all to its backend")
  func simple() throws {
    try with(route("- backendRefs: [{name: one, port: 8080}]")) {
      try expect(["/", "/any/path?and=query"].map { (.get($0), .from("one", path: $0)) }, from: "one")
      try expect([(.get(), .from("one"))], from: "two")
    }
  }

  @Test("paths by prefix of whole segments, and headers, choose the backend; the longer path goes first")
  func matching() throws {
    let rules = """
      - matches: [{path: {type: PathPrefix, value: /}}, {headers: [{name: version, value: one}]}]
        backendRefs: [{name: one, port: 8080}]
      - matches: [{path: {type: PathPrefix, value: /v2}}, {headers: [{name: version, value: two}]}]
        backendRefs: [{name: two, port: 8080}]
      """
    try with(route(rules)) {
      try expect([
        (.get("/"), .from("one")), (.get("/example"), .from("one")), (.get("/", ["Version": "one"]), .from("one")),
        (.get("/v2"), .from("two")), (.get("/v2/"), .from("two")), (.get("/v2/example"), .from("two")),
        (.get("/v2?a=b"), .from("two")), (.get("/", ["Version": "two"]), .from("two")),
        (.get("/v2example"), .from("one")), (.get("/foo/v2/example"), .from("one")),
        (.get("/V2"), .from("one")), (.get("/", ["version": "Two"]), .from("one")),
      ])
    }
  }

  @Test("exact paths: two versions behind one Service; what no rule takes is not found")
  func split() throws {
    let rules = """
      - matches: [{path: {type: Exact, value: /v1}}]
        backendRefs: [{name: one, port: 80}]
      - matches: [{path: {type: Exact, value: /v2}}]
        backendRefs: [{name: two, port: 80}]
      """
    try with(route(port: nil, rules)) {
      try expect([
        (.get("/v1"), .from("one")), (.get("/v2"), .from("two")), (.get("/v2?a=b"), .from("two")),
        (.get("/v1", port: 8080), .from("one")), (.get("/v1/"), .status(404)), (.get("/v1/a"), .status(404)),
        (.get("/"), .status(404)),
      ])
    }
  }

  @Test("query parameters by their whole value, alone and with paths and headers")
  func query() throws {
    let rules = """
      - matches: [{queryParams: [{name: animal, value: whale}]}]
        backendRefs: [{name: one, port: 8080}]
      - matches: [{queryParams: [{name: animal, value: dolphin}]}]
        backendRefs: [{name: two, port: 8080}]
      - matches: [{path: {value: /path1}, queryParams: [{name: animal, value: whale}]}]
        backendRefs: [{name: one, port: 8080}]
      - matches: [{headers: [{name: version, value: one}], queryParams: [{name: animal, value: whale}]}]
        backendRefs: [{name: two, port: 8080}]
      - matches:
        - {path: {value: /path3}, queryParams: [{name: animal, value: shark}]}
        - path: {value: /path4}
          headers: [{name: version, value: three}]
          queryParams: [{name: animal, value: kraken}]
        backendRefs: [{name: one, port: 8080}]
      - matches: [{path: {value: /path5}}]
        backendRefs: [{name: one, port: 8080}]
      - matches: [{queryParams: [{name: animal, value: hydra}]}]
        backendRefs: [{name: two, port: 8080}]
      - matches: [{queryParams: [{name: tag, value: "a b"}]}]
        backendRefs: [{name: two, port: 8080}]
      """
    try with(route(rules)) {
      try expect([
        (.get("/?animal=whale"), .from("one")), (.get("/?animal=dolphin"), .from("two")),
        (.get("/?animal=whale&other=1"), .from("one")), (.get("/?color=yellow&animal=dolphin"), .from("two")),
        (.get("/?color=blue"), .status(404)), (.get("/?animal=dog"), .status(404)),
        (.get("/?animal=whaledolphin"), .status(404)), (.get("/"), .status(404)),
        (.get("/?Animal=whale"), .status(404)),
        (.get("/path1?animal=whale"), .from("one")), (.get("/?animal=whale", ["version": "one"]), .from("two")),
        (.get("/path3?animal=shark"), .from("one")),
        (.get("/path4?animal=kraken", ["version": "three"]), .from("one")),
        (.get("/?animal=shark"), .status(404)), (.get("/path4?animal=kraken"), .status(404)),
        (.get("/path5?animal=hydra"), .from("one")),
        // Of several parameters with one name the first counts; a value as a form writes it.
        (.get("/?animal=dolphin&animal=whale"), .from("two")),
        (.get("/?tag=a%20b"), .from("two")),
      ])
    }
  }

  @Test("methods, and headers and paths by regular expressions that take the whole value")
  func patterns() throws {
    let rules = """
      - matches: [{method: POST, path: {value: /till}}]
        backendRefs: [{name: two, port: 8080}]
      - matches: [{path: {value: /till}}]
        backendRefs: [{name: one, port: 8080}]
      - matches: [{path: {type: RegularExpression, value: "/item/[0-9]+"}}]
        backendRefs: [{name: one, port: 8080}]
      - matches: [{path: {value: /h}, headers: [{name: cookie, type: RegularExpression, value: "(.*; )?group=b(;.*)?"}]}]
        backendRefs: [{name: two, port: 8080}]
      - matches: [{path: {value: /q}, queryParams: [{name: id, type: RegularExpression, value: "[a-f]{2,4}"}]}]
        backendRefs: [{name: two, port: 8080}]
      """
    try with(route(rules)) {
      try expect([
        (Call(method: "POST", path: "/till", bytes: 100), .from("two")), (.get("/till"), .from("one")),
        (Call(method: "DELETE", path: "/till/4"), .from("one")),
        (.get("/item/77"), .from("one")), (.get("/item/77/x"), .status(404)), (.get("/item/x"), .status(404)),
        (.get("/h", ["cookie": "a=1; group=b; c=2"]), .from("two")), (.get("/h", ["cookie": "group=bb"]), .status(404)),
        (.get("/h"), .status(404)),
        (.get("/q?id=abcd"), .from("two")), (.get("/q?id=abcde"), .status(404)), (.get("/q?id=g"), .status(404)),
      ])
    }
  }

  @Test("named rules route as those without a name, and keep the path")
  func named() throws {
    let rules = """
      - name: with-a-name
        matches: [{path: {value: /named}}]
        backendRefs: [{name: one, port: 8080}]
      - matches: [{path: {value: /unnamed}}]
        backendRefs: [{name: two, port: 8080}]
      """
    try with(route(rules)) {
      try expect([
        (.get("/named"), .from("one", path: "/named")), (.get("/unnamed"), .from("two", path: "/unnamed")),
      ])
    }
  }

  @Test(
    "several routes of a Service: exact, longest prefix, method, most headers, most parameters, oldest, name, order")
  func precedence() throws {
    func rule(_ match: String, _ mark: String) -> String {
      """
      - matches: [\(match)]
        filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-rule, value: \(mark)}]}}]
        backendRefs: [{name: one, port: 8080}]
      """
    }
    func dated(_ name: String, _ year: Int?, _ rules: [String]) -> String {
      route(
        name, metadata: year.map { ", creationTimestamp: \"\($0)-01-01T00:00:00Z\"" } ?? "",
        rules.joined(separator: "\n"))
    }
    let yaml = [
      dated(
        "young", 2025,
        [
          rule("{path: {type: Exact, value: /a/b}}", "exact"), rule("{path: {value: /same}}", "young"),
          rule("{path: {value: /two}, headers: [{name: h1, value: x}, {name: h2, value: x}]}", "two-headers"),
          rule("{path: {value: /q}, queryParams: [{name: p1, value: x}, {name: p2, value: x}]}", "two-parameters"),
          rule("{path: {value: /m}, method: GET}", "method"),
        ]),
      dated(
        "old", 2020,
        [
          rule("{path: {value: /a/b}}", "long"), rule("{path: {value: /a}}", "short"),
          rule("{path: {value: /same}}", "old"), rule("{path: {value: /same}}", "old-second"),
          rule("{path: {value: /two}, headers: [{name: h1, value: x}]}", "one-header"),
          rule("{path: {value: /two}, queryParams: [{name: p1, value: x}, {name: p2, value: x}]}", "parameters"),
          rule("{path: {value: /q}, queryParams: [{name: p1, value: x}]}", "one-parameter"),
          rule("{path: {value: /m}, headers: [{name: h1, value: x}, {name: h2, value: x}]}", "headers"),
        ]),
      dated("b-later-name", 2022, [rule("{path: {value: /equal}}", "b")]),
      dated("a-earlier-name", 2022, [rule("{path: {value: /equal}}", "a")]),
    ].joined(separator: "\n---\n")
    let both = ["h1": "x", "h2": "x"]
    try with(yaml) {
      let cases: [(Call, String)] = [
        (.get("/a/b"), "exact"), (.get("/a/b/c"), "long"), (.get("/a/c"), "short"), (.get("/same"), "old"),
        (.get("/two", both), "two-headers"), (.get("/two", ["h1": "x"]), "one-header"),
        (.get("/two?p1=x&p2=x", ["h1": "x"]), "one-header"), (.get("/two?p1=x&p2=x"), "parameters"),
        (.get("/q?p1=x&p2=x"), "two-parameters"), (.get("/q?p1=x"), "one-parameter"), (.get("/m", both), "method"),
        (.get("/equal"), "a"),
      ]
      try expect(cases.map { ($0.0, .from("one", ["x-rule": $0.1])) })
      for name in ["young", "old", "b-later-name", "a-earlier-name"] {
        expectCondition("Accepted", "True/Accepted", of: name)
      }
    }
  }
}
