import Foundation
import Testing

/// What a route changes in requests and responses, and copies of requests.
extension EndToEnd.GatewayTests {
  private static let edits: [(path: String, edit: String)] = [
    ("/set", "set: [{name: X-Header-Set, value: set-overwrites-values}]"),
    ("/add", "add: [{name: X-Header-Add, value: add-appends-values}]"), ("/remove", "remove: [X-Header-Remove]"),
    (
      "/multiple",
      """
      set: [{name: X-Header-Set-1, value: header-set-1}, {name: X-Header-Set-2, value: header-set-2}],
      add: [{name: X-Header-Add-1, value: header-add-1}, {name: X-Header-Add-2, value: header-add-2},
      {name: X-Header-Add-3, value: header-add-3}], remove: [X-Header-Remove-1, X-Header-Remove-2]
      """.replacing("\n", with: " ")
    ),
    (
      "/case-insensitivity",
      "set: [{name: X-Header-Set, value: header-set}], add: [{name: X-Header-Add, value: header-add}], "
        + "remove: [X-Header-Remove]"
    ),
  ]

  @Test(
    "headers of requests are set, added and removed, by a rule and by one of its backends", arguments: [false, true])
  func requestHeaders(byBackend: Bool) throws {
    let rules = Self.edits.map { path, edit in
      let filters = "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {\(edit)}}]"
      return byBackend
        ? """
        - matches: [{path: {value: \(path)}}]
          backendRefs: [{name: one, port: 8080, \(filters)}]
        """
        : """
        - matches: [{path: {value: \(path)}}]
          \(filters)
          backendRefs: [{name: one, port: 8080}]
        """
    }.joined(separator: "\n")
    try with(route(rules)) {
      try expect([
        (
          .get("/set", ["Some-Other-Header": "val"]),
          .from("one", ["some-other-header": "val", "x-header-set": "set-overwrites-values"])
        ),
        (
          .get("/set", ["Some-Other-Header": "val", "X-Header-Set": "some-other-value"]),
          .from("one", ["some-other-header": "val", "x-header-set": "set-overwrites-values"])
        ),
        (
          .get("/add", ["Some-Other-Header": "val"]),
          .from("one", ["some-other-header": "val", "x-header-add": "add-appends-values"])
        ),
        (.get("/add", ["X-Header-Add": "some"]), .from("one", ["x-header-add": "some,add-appends-values"])),
        (.get("/remove", ["X-Header-Remove": "val"]), .from("one", ["x-header-remove": nil])),
        (
          .get(
            "/multiple",
            ["X-Header-Set-2": "a", "X-Header-Add-2": "b", "X-Header-Remove-2": "c", "Another-Header": "d"]),
          .from(
            "one",
            [
              "x-header-set-1": "header-set-1", "x-header-set-2": "header-set-2", "x-header-add-1": "header-add-1",
              "x-header-add-2": "b,header-add-2", "x-header-add-3": "header-add-3", "another-header": "d",
              "x-header-remove-1": nil, "x-header-remove-2": nil,
            ])
        ),
        (
          .get(
            "/case-insensitivity",
            ["x-header-set": "a", "x-header-add": "b", "x-header-remove": "c", "Another-Header": "d"]),
          .from(
            "one",
            [
              "x-header-set": "header-set", "x-header-add": "b,header-add", "x-header-remove": nil,
              "another-header": "d",
            ])
        ),
      ])
    }
  }

  @Test("headers of responses are set, added and removed, by a rule and by one of its backends")
  func responseHeaders() throws {
    let edit = """
      [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-Served-By, value: mesh}], \
      add: [{name: X-New, value: new}, {name: Content-Type, value: more}], remove: [Server]}}]
      """
    let rules = """
      - matches: [{path: {value: /rule}}]
        filters: \(edit)
        backendRefs: [{name: two, port: 8080}]
      - matches: [{path: {value: /backend}}]
        backendRefs: [{name: two, port: 8080, filters: \(edit)}]
      """
    try with(route(rules)) {
      try expect(
        ["/rule", "/backend"].map { path in
          (
            .get(path),
            Expected(
              server: "two",
              answered: [
                "x-served-by": "mesh", "x-new": "new", "content-type": "application/json,more", "server": nil,
              ])
          )
        })
    }
  }

  @Test("paths are rewritten, by prefix and as a whole, with headers beside; the host too")
  func rewrite() throws {
    let headers = """
      {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Header-Set, value: set-overwrites-values}], \
      add: [{name: X-Header-Add, value: header-val-1}, {name: X-Header-Add-Append, value: header-val-2}], \
      remove: [X-Header-Remove]}}
      """
    func rule(_ path: String, _ rewrite: String, _ more: String = "") -> String {
      """
      - matches: [{path: {value: \(path)}}]
        filters: [{type: URLRewrite, urlRewrite: {\(rewrite)}}\(more.isEmpty ? "" : ", \(more)")]
        backendRefs: [{name: one, port: 80}]
      """
    }
    func prefix(_ path: String) -> String { "path: {type: ReplacePrefixMatch, replacePrefixMatch: \(path)}" }
    func full(_ path: String) -> String { "path: {type: ReplaceFullPath, replaceFullPath: \(path)}" }
    let rules = [
      rule("/prefix/one", prefix("/one")), rule("/strip-prefix", prefix("/")), rule("/full/one", full("/one")),
      rule("/full/rewrite-path-and-modify-headers", full("/test"), headers),
      rule("/prefix/rewrite-path-and-modify-headers", prefix("/prefix"), headers),
      rule("/host", "hostname: other.example.org"), rule("/slash", prefix("/new/")), rule("/bare", prefix("/new")),
      rule("/nothing", prefix("\"\"")),
    ].joined(separator: "\n")
    let sent = ["X-Header-Remove": "a", "X-Header-Add-Append": "append-val-1", "X-Header-Set": "c"]
    let seen = [
      "x-header-add": "header-val-1", "x-header-add-append": "append-val-1,header-val-2",
      "x-header-set": "set-overwrites-values", "x-header-remove": nil,
    ]
    try with(route(rules)) {
      try expect([
        (.get("/prefix/one/two"), .from("one", path: "/one/two", host: "echo")),
        (.get("/prefix/one/two?a=/prefix/one"), .from("one", path: "/one/two?a=/prefix/one")),
        (.get("/strip-prefix/three"), .from("one", path: "/three")), (.get("/strip-prefix"), .from("one", path: "/")),
        (.get("/full/one/two"), .from("one", path: "/one")), (.get("/full/one?a=b"), .from("one", path: "/one?a=b")),
        (.get("/full/rewrite-path-and-modify-headers/test", sent), .from("one", path: "/test", seen)),
        (.get("/prefix/rewrite-path-and-modify-headers/one", sent), .from("one", path: "/prefix/one", seen)),
        (.get("/host/x"), .from("one", path: "/host/x", host: "other.example.org")),
        // The table of the specification of `replacePrefixMatch`.
        (.get("/slash/x"), .from("one", path: "/new/x")), (.get("/bare/x"), .from("one", path: "/new/x")),
        (.get("/bare"), .from("one", path: "/new")), (.get("/bare/"), .from("one", path: "/new/")),
        (.get("/nothing/x"), .from("one", path: "/x")), (.get("/nothing/"), .from("one", path: "/")),
        (.get("/nothing"), .from("one", path: "/")), (.get("/strip-prefix/"), .from("one", path: "/")),
      ])
    }
  }

  /// What a pod got with this key.
  func seen(_ key: String, at pod: String) throws -> [Facts] {
    let address = try lab.addresses("\(pod)-0", in: "harbor").v4
    return try ask([.get("/\(key)", to: address, port: 8081)])[0]["body"].list
  }

  @Test("a mirror gets a copy with the rule's changes, several mirrors one each, a share of them its share")
  func mirror() throws {
    func mirror(_ service: String, _ more: String = "") -> String {
      "{type: RequestMirror, requestMirror: {backendRef: {name: \(service), port: 8080}\(more)}}"
    }
    let edit = "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-edited, value: \"yes\"}]}}"
    let rules = [
      ("/one", mirror("two")), ("/edited", "\(edit), \(mirror("two"))"),
      ("/both", "\(mirror("two")), \(mirror("echo"))"),
      ("/none", mirror("two", ", percent: 0")), ("/share", mirror("two", ", percent: 25")),
      ("/fraction", mirror("two", ", fraction: {numerator: 1, denominator: 10}")),
      // Refused by nobody: the mirror's failure is not the client's.
      ("/gone", mirror("nowhere")),
    ].map { path, filters in
      """
      - matches: [{path: {value: \(path)}}]
        filters: [\(filters)]
        backendRefs: [{name: one, port: 8080}]
      """
    }.joined(separator: "\n")
    try with(route(rules)) {
      func send(_ path: String, _ count: Int = 1) throws -> String {
        let key = "\(path.dropFirst())-\(UUID().uuidString.prefix(8))"
        if count == 1 {
          try expect([(Call(method: "POST", path: path, headers: ["x-key": key], bytes: 30_000), .from("one"))])
        } else {
          #expect(try tally(.get(path, ["x-key": key]), count) == ["one": count])
        }
        return key
      }
      for path in ["/one", "/edited"] {
        let key = try send(path)
        wait(3, for: "the copy of \(path)") { try seen(key, at: "two").count == 1 }
        let copy = try seen(key, at: "two").first ?? .null
        #expect(copy["bytes"].int == 30_000 && copy["path"].text == path && copy["method"].text == "POST", "\(copy)")
        #expect(
          copy["headers"].list.contains { $0.texts == ["x-edited", "yes"] } == (path == "/edited"), "\(copy)")
      }
      let both = try send("/both")
      wait(3, for: "both copies") { try seen(both, at: "one").count + seen(both, at: "two").count == 3 }
      let (none, share, fraction) = (try send("/none", 40), try send("/share", 400), try send("/fraction", 400))
      // Far beyond three deviations: 400 × 25 % ± 9, 400 × 10 % ± 6.
      wait(3, for: "a quarter") { try 65...135 ~= seen(share, at: "two").count }
      wait(3, for: "a tenth") { try 15...65 ~= seen(fraction, at: "two").count }
      #expect(try seen(none, at: "two").isEmpty)
      _ = try send("/gone", 10)
      expectCondition("ResolvedRefs", "False/BackendNotFound", of: "case", saying: "harbor/nowhere")
    }
  }

  @Test("CORS: preflights are answered by the mesh, answers to allowed origins marked")
  func cors() throws {
    let rules = """
      - filters:
        - type: CORS
          cors:
            allowOrigins: ["https://shop.example", "https://*.shop.example"]
            allowMethods: [GET, PUT]
            allowHeaders: [x-token]
            exposeHeaders: [x-served-by]
            allowCredentials: true
            maxAge: 600
        backendRefs: [{name: one, port: 8080}]
      """
    func preflight(_ origin: String) -> Call {
      Call(
        method: "OPTIONS",
        headers: [
          "Origin": origin, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-token",
        ])
    }
    try with(route(rules)) {
      let origins = ["https://shop.example", "https://a.shop.example"]
      try expect(
        origins.map { origin in
          (
            .get("/", ["Origin": origin]),
            Expected(
              server: "one",
              answered: [
                "access-control-allow-origin": origin, "access-control-allow-credentials": "true",
                "access-control-expose-headers": "x-served-by",
              ])
          )
        } + [
          (
            .get("/", ["Origin": "https://evil.example"]),
            Expected(server: "one", answered: ["access-control-allow-origin": nil])
          )
        ])
      for origin in origins {
        let answer = try ask([preflight(origin)])[0]
        #expect([200, 204].contains(answer["status"].int), "\(answer)")
        #expect(answer["headers"]["access-control-allow-origin"].texts == [origin], "\(answer)")
        #expect(answer["headers"]["access-control-max-age"].texts == ["600"], "\(answer)")
        #expect(answer["headers"]["access-control-allow-methods"].texts.joined().contains("PUT"), "\(answer)")
        #expect(answer["headers"]["access-control-allow-headers"].texts.joined().lowercased().contains("x-token"))
        #expect(answer["body"]["name"].text == nil, "the application must not see a preflight")
      }
    }
  }

  @Test("timeouts: of the request and of each try, 504; 0s is none")
  func timeouts() throws {
    let rules = """
      - matches: [{path: {value: /request}}]
        timeouts: {request: 200ms}
        backendRefs: [{name: one, port: 8080}]
      - matches: [{path: {value: /backend}}]
        timeouts: {request: 10s, backendRequest: 200ms}
        backendRefs: [{name: two, port: 8080}]
      - matches: [{path: {value: /none}}]
        timeouts: {request: 0s}
        backendRefs: [{name: one, port: 8080}]
      """
    try with(route(rules)) {
      try expect([
        (.get("/request?delay=1"), .status(504)), (.get("/request"), .from("one")),
        (.get("/backend?delay=1"), .status(504)), (.get("/backend"), .from("two")),
        (.get("/none?delay=1"), .from("one")),
      ])
    }
  }
}
