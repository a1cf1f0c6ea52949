import Testing

/// Redirects: each member alone, and with others.
extension EndToEnd.GatewayTests {
  private func redirects(_ rules: [(path: String, redirect: String)]) -> String {
    rules.map { path, redirect in
      """
      - matches: [{path: {type: PathPrefix, value: \(path)}}]
        filters: [{type: RequestRedirect, requestRedirect: {\(redirect)}}]
      """
    }.joined(separator: "\n")
  }

  @Test("every status of a redirect", arguments: [301, 302, 303, 307, 308])
  func redirectStatus(status: Int) throws {
    let rules = redirects([
      ("/keep", "statusCode: \(status)"), ("/host", "statusCode: \(status), hostname: example.org"),
    ])
    try with(route(rules)) {
      try expect([
        (.get("/keep"), .redirect(status, "http://echo/keep")),
        (.get("/keep/a?b=c"), .redirect(status, "http://echo/keep/a?b=c")),
        (.get("/host/x"), .redirect(status, "http://example.org/host/x")),
        (Call(method: "POST", path: "/keep", bytes: 10_000), .redirect(status, "http://echo/keep")),
      ])
    }
  }

  @Test("a redirect to another host, with the default status and with one of its own")
  func redirectHost() throws {
    let rules = redirects([
      ("/hostname-redirect", "hostname: example.org"), ("/host-and-status", "hostname: example.org, statusCode: 301"),
    ])
    try with(route(port: nil, rules)) {
      try expect([
        (.get("/hostname-redirect"), .redirect(302, "http://example.org/hostname-redirect")),
        (.get("/host-and-status"), .redirect(301, "http://example.org/host-and-status")),
        // Another port than HTTP's stays, as the specification of `port` has it.
        (.get("/hostname-redirect", port: 8080), .redirect(302, "http://example.org:8080/hostname-redirect")),
      ])
    }
  }

  @Test("a redirect to another path: the matched prefix, or the whole")
  func redirectPath() throws {
    let prefix = "path: {type: ReplacePrefixMatch, replacePrefixMatch: /replacement-prefix}"
    let full = "path: {type: ReplaceFullPath, replaceFullPath: /replacement-full}"
    let rules = redirects([
      ("/original-prefix", prefix), ("/full", "path: {type: ReplaceFullPath, replaceFullPath: /full-path-replacement}"),
      ("/path-and-host", "hostname: example.org, \(prefix)"), ("/path-and-status", "statusCode: 301, \(prefix)"),
      ("/full-path-and-host", "hostname: example.org, \(full)"), ("/full-path-and-status", "statusCode: 301, \(full)"),
      ("/strip", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /}"),
    ])
    try with(route(rules)) {
      try expect([
        (.get("/original-prefix/lemon"), .redirect(302, "http://echo/replacement-prefix/lemon")),
        (.get("/original-prefix/lemon?a=b"), .redirect(302, "http://echo/replacement-prefix/lemon?a=b")),
        (.get("/full/path/original"), .redirect(302, "http://echo/full-path-replacement")),
        (.get("/path-and-host"), .redirect(302, "http://example.org/replacement-prefix")),
        (.get("/path-and-status"), .redirect(301, "http://echo/replacement-prefix")),
        (.get("/full-path-and-host"), .redirect(302, "http://example.org/replacement-full")),
        (.get("/full-path-and-status"), .redirect(301, "http://echo/replacement-full")),
        (.get("/strip/lemon"), .redirect(302, "http://echo/lemon")), (.get("/strip"), .redirect(302, "http://echo/")),
      ])
    }
  }

  @Test("a redirect to another port; a scheme's own port isn't written")
  func redirectPort() throws {
    let rules = redirects([
      ("/port", "port: 8083"), ("/port-and-host", "port: 8083, hostname: example.org"),
      ("/port-and-status", "port: 8083, statusCode: 301"),
      ("/port-and-host-and-status", "port: 8083, hostname: example.org, statusCode: 302"), ("/own", "port: 80"),
    ])
    try with(route(rules)) {
      try expect([
        (.get("/port"), .redirect(302, "http://echo:8083/port")),
        (.get("/port-and-host"), .redirect(302, "http://example.org:8083/port-and-host")),
        (.get("/port-and-status"), .redirect(301, "http://echo:8083/port-and-status")),
        (.get("/port-and-host-and-status"), .redirect(302, "http://example.org:8083/port-and-host-and-status")),
        (.get("/own"), .redirect(302, "http://echo/own")),
      ])
    }
  }

  @Test("a redirect to another scheme has that scheme's port")
  func redirectScheme() throws {
    let rules = redirects([
      ("/scheme", "scheme: https"), ("/scheme-and-host", "scheme: https, hostname: example.org"),
      ("/scheme-and-status", "scheme: https, statusCode: 301"),
      ("/scheme-and-host-and-status", "scheme: https, hostname: example.org, statusCode: 302"),
      ("/scheme-and-port", "scheme: https, port: 8443"), ("/scheme-and-own-port", "scheme: https, port: 443"),
    ])
    try with(route(port: nil, rules)) {
      try expect([
        (.get("/scheme"), .redirect(302, "https://echo/scheme")),
        (.get("/scheme-and-host"), .redirect(302, "https://example.org/scheme-and-host")),
        (.get("/scheme-and-status"), .redirect(301, "https://echo/scheme-and-status")),
        (.get("/scheme-and-host-and-status"), .redirect(302, "https://example.org/scheme-and-host-and-status")),
        (.get("/scheme-and-port"), .redirect(302, "https://echo:8443/scheme-and-port")),
        (.get("/scheme-and-own-port"), .redirect(302, "https://echo/scheme-and-own-port")),
        (.get("/scheme", port: 8080), .redirect(302, "https://echo/scheme")),
      ])
    }
  }
}
