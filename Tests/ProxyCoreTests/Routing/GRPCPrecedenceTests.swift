import MeshModel
import Testing

@testable import ProxyCore

/// GRPCRoute's precedence: the exact service and method, then the characters of the service, then of the method, then
/// the headers.
@Suite struct GRPCPrecedenceTests {
  /// As the control plane makes them.
  private static func match(
    _ service: String? = nil, _ method: String? = nil, isPattern: Bool = false, headers: Int = 0
  ) -> RouteMatch {
    let path: RouteMatch.Path
    switch (service, method) {
    case _ where isPattern:
      path = .regularExpression(
        "/\(service.map { "(?:\($0))" } ?? "[^/]+")/\(method.map { "(?:\($0))" } ?? "[^/]+")")
    case (let service?, let method?): path = .exact("/\(service)/\(method)")
    case (let service?, nil): path = .prefix("/\(service)")
    case (nil, let method?): path = .regularExpression("/[^/]+/\(method)")
    case (nil, nil): path = .prefix("/")
    }
    return RouteMatch(
      path: path, headers: (0..<headers).map { .init(name: "h\($0)", value: "1") },
      serviceLength: UInt32(service?.count ?? 0), methodLength: UInt32(method?.count ?? 0))
  }

  private func winner(_ matches: [(String, RouteMatch)], path: String = "/a.b.User/Login") -> String? {
    var route = Route.sample("a", [:], kind: .grpc)
    route.rules = matches.map { RouteRule(name: $0.0, matches: [$0.1]) }
    let head = HTTPHead.request(path, method: "POST", ["h0": "1", "h1": "1"])
    let found = RouteTable([route]).rule(head)
    route.rules.reverse()
    #expect(RouteTable([route]).rule(head) == found, "the order of the rules decides nothing")
    return found
  }

  /// Each goes before all that stand behind it.
  private static let descending: [(String, RouteMatch)] = [
    ("exact with a header", match("a.b.User", "Login", headers: 1)), ("exact", match("a.b.User", "Login")),
    ("long pattern", match("a\\.(b|c)\\.User", isPattern: true)),
    ("service and method by pattern", match("a.b.User", "Log.*", isPattern: true)),
    ("service with two headers", match("a.b.User", headers: 2)),
    ("service with a header", match("a.b.User", headers: 1)),
    ("service", match("a.b.User")), ("short pattern", match("a.*", ".*", isPattern: true)),
    ("method with a header", match(nil, "Login", headers: 1)), ("method", match(nil, "Login")),
    ("method by pattern", match(nil, "L.*", isPattern: true)), ("header", match(headers: 1)), ("all", match()),
  ]

  @Test func eachGoesBeforeThoseBehindIt() {
    for first in Self.descending.indices {
      #expect(winner(Array(Self.descending[first...])) == Self.descending[first].0)
      for second in Self.descending.indices.dropFirst(first + 1) {
        #expect(winner([Self.descending[second], Self.descending[first]]) == Self.descending[first].0)
      }
    }
  }

  @Test func whatAServicesConditionsLeaveGoesToTheMethod() {
    let matches = [
      ("service", RouteMatch(path: .prefix("/a.b.User"), headers: [.init(name: "x", value: "1")], serviceLength: 8)),
      ("method", Self.match(nil, "Login")), ("all", Self.match()),
    ]
    #expect(winner(matches) == "method")
    #expect(winner(matches, path: "/a.b.User/Other") == "all")
  }

  @Test func theOldestOfTwoMethods() {
    let routes = [("young", 2), ("old", 1)].map { name, created in
      var route = Route.sample(name, [:], created: Int64(created), kind: .grpc)
      route.rules = [RouteRule(name: name, matches: [Self.match(nil, "Login")])]
      return route
    }
    #expect(RouteTable(routes).rule(.request("/a.b.User/Login", method: "POST")) == "old")
  }
}
