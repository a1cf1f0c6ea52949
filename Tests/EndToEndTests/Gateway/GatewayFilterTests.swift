import Testing

/// What a route changes in requests and responses.
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
}
