import MeshModel
import Testing

@testable import ProxyCore

@Suite struct SessionTokenTests {
  private func text(_ token: SessionToken) -> String {
    var bytes: [UInt8] = []
    token.write(to: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  private func parse(_ text: String) -> SessionToken? { Array(text.utf8).withUnsafeBytes { SessionToken($0) } }

  @Test(arguments: [
    SessionToken(endpoint: 0, issued: 0, used: 0), SessionToken(endpoint: .max, issued: .max, used: .max),
    SessionToken(endpoint: 0x0123_4567_89ab_cdef, issued: 1_769_860_800, used: 1_769_860_801),
  ])
  func roundTrip(_ token: SessionToken) {
    #expect(text(token).utf8.count == SessionToken.length && parse(text(token)) == token)
  }

  @Test func whatItLooksLike() {
    #expect(
      text(SessionToken(endpoint: 0xabc, issued: 16, used: 255)) == "1" + "0000000000000abc" + "00000010" + "000000ff")
  }

  private static let good = "10000000000000abc00000010000000ff"

  @Test(arguments: [
    "", "1", "0000000000000abc", String(good.dropLast()), good + "0", "2" + good.dropFirst(), "0" + good.dropFirst(),
    good.uppercased(), good.replacing("abc", with: "abg"), good.replacing("00abc", with: " 0abc"),
    good.replacing("00abc", with: "+0abc"),
    // Used before it was issued.
    "10000000000000abc" + "00000010" + "0000000f",
  ])
  func anythingElseIsNone(_ text: String) {
    #expect(parse(Self.good) != nil)
    #expect(parse(text) == nil)
  }
}

@Suite struct SessionKeeperTests {
  private let address = endpointAddress(1)
  private let now: UInt32 = 1_800_000_000

  private func rule(
    _ backends: [String] = ["v1", "v2"], index: Int = 0, name: String = "", paths: [RouteMatch.Path] = [.prefix("/")],
    route: String = "r"
  ) -> CompiledRule {
    CompiledRule(
      RouteRule(
        name: name, matches: paths.map { RouteMatch(path: $0) },
        backends: backends.map { RouteBackend(service: ServiceKey(namespace: "shop", name: $0), port: 80) }),
      index: index, of: .sample(route, [:]))
  }

  private func keeper(
    _ rule: CompiledRule?, _ settings: SessionPersistence = SessionPersistence(name: "s"), port: UInt16 = 80
  ) -> SessionKeeper {
    SessionKeeper(settings, rule: rule, service: .reviews, port: port)
  }

  private func response(
    _ keeper: SessionKeeper, backend: Int = 0, match: Int = 0, isSecure: Bool = false, age: UInt32 = 0
  ) -> String {
    var token = keeper.renewal(of: nil, backend: backend, address: address, now: now)!
    token.issued -= age
    var head = HTTPHead()
    keeper.write(token, to: &head, match: match, isSecure: isSecure, now: now)
    return head.lines.first ?? ""
  }

  /// `s=1…` as a client brings it back.
  private func cookie(_ keeper: SessionKeeper, backend: Int = 0) -> String {
    String(response(keeper, backend: backend).dropFirst("set-cookie: ".count).prefix { $0 != ";" })
  }

  /// The backend that has `address` by this request.
  private func find(_ keeper: SessionKeeper, _ cookies: String...) -> Int? {
    var head = HTTPHead.request("/")
    for cookie in cookies { head.append("Cookie", cookie) }
    let known = EndpointToken(address)
    let found = keeper.find(in: head, now: now) { _, endpoint in endpoint == known }
    #expect(found == nil || found?.endpoint == known)
    return found?.backend
  }

  // MARK: Whose it is

  @Test func aTokenNamesItsBackend() {
    let keeper = keeper(rule(["v1", "v2", "v1"]))
    for backend in 0..<3 { #expect(find(keeper, cookie(keeper, backend: backend)) == backend) }
    // Wherever it stands in the rule later, and on another node.
    #expect(find(self.keeper(rule(["v2", "v1"])), cookie(keeper, backend: 1)) == 0)
    #expect(find(self.keeper(rule(["v3"])), cookie(keeper, backend: 1)) == nil)
  }

  @Test func anotherRulesTokenIsNone() {
    let own = keeper(rule())
    let others = [
      keeper(rule(index: 1)), keeper(rule(route: "q")), keeper(rule(name: "0")), keeper(nil), keeper(nil, port: 81),
    ]
    for (index, other) in others.enumerated() {
      #expect(find(own, cookie(other)) == nil, "\(index)")
      #expect(find(other, cookie(own)) == nil, "\(index)")
      #expect(find(other, cookie(other)) == 0)
      // Both came: each takes its own.
      #expect(find(own, "\(cookie(other)); \(cookie(own))") == 0)
      #expect(find(own, cookie(other), cookie(own)) == 0)
    }
    // A rule that has a name may move.
    #expect(find(keeper(rule(index: 3, name: "n")), cookie(keeper(rule(index: 0, name: "n")))) == 0)
  }

  @Test func soManyCookiesAreLookedAt() {
    let keeper = keeper(nil)
    let nonsense = (1..<SessionKeeper.candidatesBound).map { "s=\($0)" }.joined(separator: "; ")
    #expect(find(keeper, "\(nonsense); \(cookie(keeper))") == 0)
    #expect(find(keeper, "\(nonsense); s=; \(cookie(keeper))") == nil)
    #expect(find(keeper, "\(nonsense); other=1", "\(cookie(keeper))") == 0)
  }

  @Test func byHeader() {
    let keeper = keeper(nil, SessionPersistence(name: "X-Session", isHeader: true))
    let line = response(keeper)
    #expect(line.hasPrefix("X-Session: 1") && line.utf8.count == 11 + SessionToken.length)
    for fields in [["x-session: \(line.dropFirst(11))"], ["X-SESSION: a", line]] {
      var head = HTTPHead.request("/")
      for field in fields {
        let parts = field.split(separator: ": ", maxSplits: 1)
        head.append(String(parts[0]), String(parts[1]))
      }
      #expect(keeper.find(in: head, now: now) { _, endpoint in endpoint == EndpointToken(address) } != nil)
    }
  }

  // MARK: Time

  @Test func timeouts() {
    let both = keeper(nil, SessionPersistence(name: "s", absoluteTimeout: 100, idleTimeout: 10))
    let skew = SessionKeeper.skewBound
    func isValid(_ keeper: SessionKeeper, _ issued: UInt32, _ used: UInt32) -> Bool {
      keeper.isValid(SessionToken(endpoint: 0, issued: issued, used: used), now: now)
    }
    for (issued, used, isWanted) in [
      (now, now, true), (now - 99, now, true), (now - 100, now, false), (now - 50, now - 10, true),
      (now - 50, now - 11, false), (now + skew, now + skew, true), (now - 50, now + skew + 1, false), (0, now, false),
      (now, .max, false),
    ] as [(UInt32, UInt32, Bool)] {
      #expect(isValid(both, issued, used) == isWanted, "\(issued) \(used)")
    }
    // Without timeouts no clock matters.
    #expect(isValid(keeper(nil), 0, 0) && isValid(keeper(nil), .max, .max))
  }

  @Test func whatIsRenewed() {
    let idle = keeper(nil, SessionPersistence(name: "s", idleTimeout: 100))
    func bound(_ keeper: SessionKeeper, used: UInt32) -> SessionKeeper.Bound {
      var token = keeper.renewal(of: nil, backend: 0, address: address, now: now)!
      token.issued = now - 5000
      token.used = used
      return SessionKeeper.Bound(token: token, backend: 0, endpoint: EndpointToken(address))
    }
    func renewal(_ keeper: SessionKeeper, used: UInt32, at address: SocketAddress) -> SessionToken? {
      keeper.renewal(of: bound(keeper, used: used), backend: 0, address: address, now: now)
    }
    #expect(renewal(idle, used: now - 9, at: address) == nil)
    #expect(renewal(idle, used: now + 9, at: address) == nil)
    var renewed = bound(idle, used: now).token
    renewed.used = now
    #expect(renewal(idle, used: now - 10, at: address) == renewed)
    #expect(renewal(keeper(nil), used: now - 5000, at: address) == nil)
    // At another endpoint a new session begins.
    #expect(renewal(idle, used: now, at: endpointAddress(2))?.issued == now)
    // Short ones are noted once a second.
    let short = keeper(nil, SessionPersistence(name: "s", idleTimeout: 3))
    #expect(renewal(short, used: now, at: address) == nil && renewal(short, used: now - 1, at: address) != nil)
  }

  // MARK: The cookie

  @Test func attributes() {
    #expect(response(keeper(nil)).hasSuffix("; Path=/; HttpOnly; SameSite=Strict"))
    #expect(!response(keeper(nil, SessionPersistence(name: "s", absoluteTimeout: 60))).contains("Max-Age"))
    let permanent = keeper(nil, SessionPersistence(name: "s", absoluteTimeout: 60, isPermanent: true))
    #expect(response(permanent).hasSuffix("; Max-Age=60; Path=/; HttpOnly; SameSite=Strict"))
    #expect(response(permanent, isSecure: true).hasSuffix("; SameSite=Strict; Secure"))
    // What is left of it.
    #expect(response(permanent, age: 50).contains("; Max-Age=10; "))
    #expect(response(permanent, age: 70).contains("; Max-Age=1; "))
  }

  @Test(
    arguments: [
      (.prefix("/"), "/"), (.prefix("/a/b"), "/a/b"), (.exact("/a/"), "/a/"), (.exact("/"), "/"),
      // Nobody writes attributes by a path.
      (.exact("/a/b;Domain=x"), "/a"), (.prefix("/a;b/c"), "/"), (.exact("/a/\u{e4}"), "/a"),
      (.regularExpression("/p1/p2/[^/]*/p3"), "/p1/p2"), (.regularExpression("/p1/p2.*"), "/p1"),
      (.regularExpression("/a/b|/c"), "/"), (.regularExpression("/a/b/?c"), "/a"), (.regularExpression(".*"), "/"),
      (.regularExpression("/a/;/b"), "/a"),
    ] as [(RouteMatch.Path, String)])
  func paths(_ path: RouteMatch.Path, _ expected: String) {
    #expect(SessionKeeper.cookiePath(path) == expected)
  }

  @Test func thePathOfTheMatchThatTookTheRequest() throws {
    let route = Route(
      namespace: "shop", name: "r", parents: [.init(service: .reviews)],
      rules: [
        RouteRule(matches: [
          RouteMatch(path: .prefix("/a")), RouteMatch(path: .exact("/b")),
          RouteMatch(path: .regularExpression("/c/d/.*")),
        ])
      ])
    let table = RouteTable(routes: [route], service: .reviews, port: 80)
    for (target, path) in [("/a/x", "/a"), ("/b", "/b"), ("/c/d/e", "/c/d")] {
      let found = try #require(table.match(.request(target), clientNamespace: "shop"))
      let keeper = keeper(rule(paths: found.rule.rule.matches.map(\.path)))
      #expect(response(keeper, match: found.match).contains("; Path=\(path); "))
    }
  }
}
