import MeshModel
import Testing

@testable import ProxyCore

@Suite struct FiltersPathTests {
  private func found(_ path: String, prefix: String, host: String = "reviews") -> (HTTPHead, Int)? {
    let head = HTTPHead.request(path, host: host)
    let table = RouteTable([.sample("a", ["": RouteMatch(path: .prefix(prefix))])])
    return table.match(head, clientNamespace: "").map { (head, $0.matchedPrefix) }
  }

  /// The specification's table of ReplacePrefixMatch, then what it leaves out.
  @Test(arguments: [
    ("/foo/bar", "/foo", "/xyz", "/xyz/bar"), ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
    ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"), ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
    ("/foo", "/foo", "/xyz", "/xyz"), ("/foo/", "/foo", "/xyz", "/xyz/"), ("/foo/bar", "/foo", "", "/bar"),
    ("/foo/", "/foo", "", "/"), ("/foo", "/foo", "", "/"), ("/foo/", "/foo", "/", "/"), ("/foo", "/foo", "/", "/"),
    ("/foo/bar?q=/foo&r", "/foo", "/xyz", "/xyz/bar?q=/foo&r"), ("/foo?q", "/foo", "", "/?q"),
    ("/foo?", "/foo", "/x", "/x?"), ("/bar", "/", "/xyz", "/xyz/bar"), ("/", "/", "/xyz", "/xyz/"),
    ("/foo//bar", "/foo", "/", "//bar"), ("/foo/bar", "/foo", "xyz", "/xyz/bar"),
  ])
  func replacedPrefixes(_ path: String, _ prefix: String, _ replacement: String, _ expected: String) throws {
    var (head, matchedPrefix) = try #require(found(path, prefix: prefix))
    try RewriteFilter(Rewrite(path: .replacePrefix(replacement))).apply(to: &head, matchedPrefix: matchedPrefix)
    #expect(head.text(head.path) == expected)
    #expect(head.text(head.authority) == "reviews")
  }

  @Test func replacedPathsAndHosts() throws {
    var (head, matchedPrefix) = try #require(found("/foo/bar?q=1", prefix: "/foo", host: "a.example:8080"))
    let filter = try RewriteFilter(Rewrite(hostname: "b.example", path: .replaceFull("/all")))
    filter.apply(to: &head, matchedPrefix: matchedPrefix)
    #expect(head.text(head.path) == "/all?q=1")
    #expect(head.text(head.authority) == "b.example")
    #expect(head.lines == ["Host: b.example"])
    try RewriteFilter(Rewrite(path: .replaceFull(""))).apply(to: &head, matchedPrefix: 0)
    #expect(head.text(head.path) == "/?q=1")
  }

  @Test(arguments: ["/a b", "/a\r\n", "/é", "/a?b", "/a#b"])
  func pathsThatWouldBreakARequestAreRefused(_ path: String) {
    #expect(throws: FilterError.self) { try RewriteFilter(Rewrite(path: .replaceFull(path))) }
    #expect(throws: FilterError.self) { try RedirectFilter(Redirect(path: .replacePrefix(path))) }
  }

  @Test(arguments: ["a b", "a\r\n", "a/b", "a@b"])
  func hostsThatWouldBreakARequestAreRefused(_ host: String) {
    #expect(throws: FilterError.self) { try RewriteFilter(Rewrite(hostname: host)) }
    #expect(throws: FilterError.self) { try RedirectFilter(Redirect(hostname: host)) }
  }

  // MARK: Redirects

  static let redirects: [(Redirect, Bool, UInt16, String)] = [
    (Redirect(), false, 80, "http://a.example/foo/bar?q"),
    (Redirect(), false, 8080, "http://a.example:8080/foo/bar?q"),
    (Redirect(), true, 443, "https://a.example/foo/bar?q"),
    (Redirect(), true, 8443, "https://a.example:8443/foo/bar?q"),
    (Redirect(scheme: "https"), false, 8080, "https://a.example/foo/bar?q"),
    (Redirect(scheme: "http"), true, 443, "http://a.example/foo/bar?q"),
    (Redirect(scheme: "https", port: 8443), false, 80, "https://a.example:8443/foo/bar?q"),
    (Redirect(scheme: "https", port: 443), false, 80, "https://a.example/foo/bar?q"),
    (Redirect(scheme: "http", port: 443), false, 80, "http://a.example:443/foo/bar?q"),
    (Redirect(port: 80), false, 8080, "http://a.example/foo/bar?q"),
    (Redirect(hostname: "b.example"), false, 8080, "http://b.example:8080/foo/bar?q"),
    (Redirect(hostname: "b.example", port: 81), false, 80, "http://b.example:81/foo/bar?q"),
    (Redirect(path: .replaceFull("/x")), false, 80, "http://a.example/x?q"),
    (Redirect(path: .replacePrefix("/x")), false, 80, "http://a.example/x/bar?q"),
    (Redirect(path: .replacePrefix("/")), false, 80, "http://a.example/bar?q"),
  ]

  @Test(arguments: redirects)
  func locations(_ redirect: Redirect, _ isSecure: Bool, _ port: UInt16, _ expected: String) throws {
    let (head, matchedPrefix) = try #require(found("/foo/bar?q", prefix: "/foo", host: "a.example:9999"))
    var response = HTTPHead()
    try RedirectFilter(redirect).respond(
      to: head, matchedPrefix: matchedPrefix, isSecure: isSecure, listenerPort: port, into: &response)
    #expect(response.lines == ["location: \(expected)"])
    #expect(response.status == 302)
  }

  @Test(arguments: [301, 302, 303, 307, 308])
  func statuses(_ status: Int) throws {
    var response = HTTPHead()
    try RedirectFilter(Redirect(status: status)).respond(
      to: .request("/"), matchedPrefix: 0, listenerPort: 80, into: &response)
    #expect(response.status == status)
    #expect(throws: FilterError.self) { try RedirectFilter(Redirect(status: status + 10)) }
  }

  @Test func withoutAHostTheLocationNeverNamesAnother() throws {
    var request = HTTPHead()
    request.setPath("///evil.example/a?b".utf8)
    var response = HTTPHead()
    try RedirectFilter(Redirect()).respond(to: request, matchedPrefix: 0, listenerPort: 80, into: &response)
    #expect(response.value("location") == "/evil.example/a?b")
    #expect(throws: FilterError.self) { try RedirectFilter(Redirect(scheme: "javascript")) }
  }
}
