import MeshModel
import Testing

@testable import ProxyCore

@Suite struct RouteTableTests {
  // MARK: Paths

  @Test(arguments: [
    ("/", "root"), ("/x", "root"), ("*", "root"), ("/a", "exact"), ("/a?q=/b", "exact"), ("/a/", "prefix"),
    ("/a/x/y", "prefix"), ("/ab", "root"), ("/A", "root"), ("/a/b", "deeper"), ("/a/b/c", "deeper"),
    ("/a/bc", "prefix"),
    ("/r/17", "short"), ("/r/1777", "long"), ("/r/x", "r"), ("/r", "r"),
  ])
  func pathsByTheirPrecedence(_ path: String, _ expected: String) {
    let table = RouteTable([
      .sample(
        "one",
        [
          "root": RouteMatch(), "prefix": RouteMatch(path: .prefix("/a")), "exact": RouteMatch(path: .exact("/a")),
          "deeper": RouteMatch(path: .prefix("/a/b/")), "r": RouteMatch(path: .prefix("/r")),
          "short": RouteMatch(path: .regularExpression("/r/\\d+")),
          "long": RouteMatch(path: .regularExpression("/r/[0-9]{4}")),
        ])
    ])
    #expect(table.rule(.request(path)) == expected)
  }

  @Test(arguments: [("/a", 2), ("/a/b", 2), ("/x/y", 0), ("/e/e", 4), ("/r1?q", 3)])
  func theMatchedPrefixInBytes(_ path: String, _ expected: Int) {
    let table = RouteTable([
      .sample(
        "one",
        [
          "": RouteMatch(path: .prefix("/a/")), "root": RouteMatch(), "exact": RouteMatch(path: .exact("/e/e")),
          "expression": RouteMatch(path: .regularExpression("/r.")),
        ])
    ])
    #expect(table.match(.request(path), clientNamespace: "shop")?.matchedPrefix == expected)
  }

  @Test func aPrefixWhoseConditionsFailLeavesTheRequestToAShorterOne() {
    let table = RouteTable([
      .sample(
        "one",
        [
          "post": RouteMatch(path: .prefix("/a/b"), method: "POST"), "short": RouteMatch(path: .prefix("/a")),
          "exact": RouteMatch(path: .exact("/a/b"), method: "PUT"),
        ])
    ])
    #expect(table.rule(.request("/a/b", method: "PUT")) == "exact")
    #expect(table.rule(.request("/a/b", method: "POST")) == "post")
    #expect(table.rule(.request("/a/b")) == "short")
    #expect(table.rule(.request("/b")) == nil)
  }

  // MARK: Ties

  @Test func methodThenHeadersThenQueryParameters() {
    let header = { RouteMatch.Value(name: $0, value: "1") }
    let table = RouteTable([
      .sample(
        "one",
        [
          "plain": RouteMatch(), "query": RouteMatch(queryParameters: [header("q"), header("p")]),
          "headers": RouteMatch(headers: [header("a"), header("b")]),
          "header": RouteMatch(headers: [header("a")], queryParameters: [header("q"), header("p")]),
          "method": RouteMatch(method: "GET"),
        ])
    ])
    #expect(table.rule(.request("/?q=1&p=1", ["A": "1", "b": "1"])) == "method")
    #expect(table.rule(.request("/?q=1&p=1", method: "PUT", ["A": "1", "b": "1"])) == "headers")
    #expect(table.rule(.request("/?q=1&p=1", method: "PUT", ["A": "1"])) == "header")
    #expect(table.rule(.request("/?q=1&p=1", method: "PUT")) == "query")
    #expect(table.rule(.request("/?q=1", method: "PUT")) == "plain")
    #expect(table.rule(.request("/", method: "get")) == "plain")
  }

  @Test func theOldestRouteThenTheFirstNameThenTheFirstRule() {
    let match: KeyValuePairs = ["first": RouteMatch(), "second": RouteMatch()]
    let routes: [Route] = [
      .sample("young", ["young": RouteMatch()], created: 20), .sample("b", match, created: 10),
      .sample("c", ["c": RouteMatch()], created: 10),
    ]
    #expect(RouteTable(routes).rule(.request("/")) == "first")
    #expect(RouteTable(routes.reversed()).rule(.request("/")) == "first")
    #expect(RouteTable(routes + [.sample("a", ["a": RouteMatch()], created: 10)]).rule(.request("/")) == "a")
    #expect(RouteTable(routes + [.sample("z", ["old": RouteMatch()], created: 9)]).rule(.request("/")) == "old")
  }

  // MARK: Hostnames

  @Test(arguments: [
    ("shop.example.com", "exact"), ("SHOP.Example.COM:8080", "exact"), ("shop.example.com.", "exact"),
    ("a.shop.example.com", "long"), ("a.b.shop.example.com", "long"), ("other.example.com", "short"),
    ("a.other.example.com", "short"), ("example.com", "any"), (".example.com", "any"), ("[::1]:80", "any"),
    ("badexample.com", "any"), ("", "any"), (String(repeating: "a.", count: 200) + "example.com", "any"),
  ])
  func hostnamesByTheirPrecedence(_ host: String, _ expected: String) {
    let table = RouteTable([
      .sample("a", ["any": RouteMatch(path: .exact("/"), method: "GET")]),
      .sample("b", ["short": RouteMatch()], hostnames: ["*.example.com"]),
      .sample("c", ["long": RouteMatch()], hostnames: ["*.shop.example.com"]),
      .sample("d", ["exact": RouteMatch()], hostnames: ["shop.example.com", "else.where"]),
    ])
    #expect(table.rule(.request("/", host: host)) == expected)
  }

  @Test func whatNoRuleOfAHostnameTakesGoesToALessSpecificOne() {
    let table = RouteTable([
      .sample("a", ["any": RouteMatch()]),
      .sample("b", ["wide": RouteMatch(path: .prefix("/wide"))], hostnames: ["*.com"]),
      .sample("c", ["exact": RouteMatch(path: .prefix("/exact"))], hostnames: ["a.example.com"]),
      .sample("d", ["narrow": RouteMatch(path: .prefix("/narrow"))], hostnames: ["*.example.com"]),
    ])
    for name in ["wide", "exact", "narrow"] {
      #expect(table.rule(.request("/\(name)", host: "a.example.com")) == name)
    }
    #expect(table.rule(.request("/x", host: "a.example.com")) == "any")
    #expect(RouteTable([.sample("c", ["": RouteMatch()], hostnames: ["a.b"])]).rule(.request("/", host: "b")) == nil)
  }

  // MARK: Which routes hold

  @Test func onlyRoutesOfTheServiceAndThePort() {
    let routes: [Route] = [
      .sample("port", ["port": RouteMatch(path: .exact("/"))], parent: .init(service: .reviews, port: 80)),
      .sample("other", ["other": RouteMatch(path: .exact("/other"))], parent: .init(service: .reviews, port: 81)),
      .sample("tcp", ["tcp": RouteMatch()], kind: .tcp),
      .sample("details", ["no": RouteMatch()], parent: .init(service: ServiceKey(namespace: "shop", name: "details"))),
      .sample("grpc", ["grpc": RouteMatch(path: .exact("/a.B/C"))], kind: .grpc),
    ]
    let table = RouteTable(routes)
    #expect(table.rule(.request("/")) == "port")
    #expect(table.rule(.request("/other")) == nil)
    #expect(table.rule(.request("/a.B/C", method: "POST")) == "grpc")
    #expect(RouteTable(routes, port: 81).rule(.request("/other")) == "other")
    #expect(!table.isEmpty)
    #expect(RouteTable(routes: routes, service: ServiceKey(namespace: "x", name: "reviews"), port: 80).isEmpty)
  }

  @Test func consumerRoutesReplaceTheProducersForTheirNamespace() {
    let consumer = Route.sample("own", ["consumer": RouteMatch(path: .prefix("/c"))], namespace: "client")
    let table = RouteTable([.sample("all", ["producer": RouteMatch()]), consumer])
    #expect(table.rule(.request("/c"), from: "client") == "consumer")
    #expect(table.rule(.request("/"), from: "client") == nil)
    #expect(table.rule(.request("/c"), from: "other") == "producer")
    #expect(table.rule(.request("/c"), from: "shop") == "producer")
    let alone = RouteTable([consumer])
    #expect(alone.group(clientNamespace: "client") != nil)
    #expect(alone.group(clientNamespace: "other") == nil)
    #expect(!alone.isEmpty)
  }

  @Test func aRuleWithSeveralMatchesAndOneWithNone() {
    var route = Route.sample("a", [:])
    route.rules = [
      RouteRule(name: "two", matches: [RouteMatch(path: .exact("/x")), RouteMatch(path: .prefix("/y"))]),
      RouteRule(name: "none"),
    ]
    let table = RouteTable([route])
    #expect(["/x", "/y/z", "/z"].map { table.rule(.request($0)) } == ["two", "two", "none"])
    #expect(table.match(.request("/z"), clientNamespace: "")?.rule.index == 1)
    #expect(table.match(.request("/z"), clientNamespace: "")?.rule.routeID == "HTTPRoute/shop/a")
  }

  @Test func anExpressionThatCantBeReadTakesNothingAndIsReported() {
    let table = RouteTable([
      .sample("a", ["bad": RouteMatch(path: .regularExpression("/(a")), "good": RouteMatch(path: .exact("/a"))])
    ])
    #expect(table.rule(.request("/a")) == "good")
    #expect(table.rule(.request("/(a")) == nil)
    #expect(table.problems.count == 1)
    #expect(table.problems.first?.hasPrefix("HTTPRoute/shop/a, rule 1: ") == true)
  }
}

/// Tables that are large enough to be indexed give what a search through all of their matches gives.
@Suite struct RouteTableIndexTests {
  @Test func manyMatchesOfAPathByTheirHeaders() {
    let value = { RouteMatch.Value(name: $0, value: $1) }
    var routes = (0..<40).map { index in
      Route.sample("r\(index)", ["v\(index)": RouteMatch(headers: [value("version", "v\(index)")])])
    }
    routes.append(.sample("all", ["rest": RouteMatch()]))
    routes.append(.sample("both", ["both": RouteMatch(headers: [value("version", "v7"), value("user", "jo")])]))
    routes.append(.sample("user", ["user": RouteMatch(headers: [value("user", "jo")])], created: -1))
    routes.append(.sample("post", ["post": RouteMatch(headers: [value("version", "v7")], method: "POST")]))
    routes.append(.sample("joined", ["joined": RouteMatch(headers: [value("version", "v1, v2")])]))
    let table = RouteTable(routes)
    #expect(table.rule(.request("/", ["Version": "v7"])) == "v7")
    #expect(table.rule(.request("/", ["Version": "v39"])) == "v39")
    #expect(table.rule(.request("/", ["Version": "v40"])) == "rest")
    #expect(table.rule(.request("/")) == "rest")
    #expect(table.rule(.request("/", ["user": "jo", "version": "v7"])) == "both")
    #expect(table.rule(.request("/", ["user": "jo", "version": "v8"])) == "user")
    #expect(table.rule(.request("/", method: "POST", ["user": "jo", "version": "v7"])) == "post")
    #expect(table.rule(.request("/", ["version": "v1", "Version": "v2"])) == "joined")
  }

  @Test func expressionsByTheirLiteralSegmentsKeepTheirOrder() {
    let patterns = [
      "/a/b/[a-z]+", "/a/[a-z]+/[a-z]+", "/[a-z]+/b/c", ".*/ccccccccccccccccccc", "/a/b/c(d|e)?", "(?i)/A/B/C",
      "^/a/b$",
    ]
    for path in ["/a/b/c", "/a/b/ccccccccccccccccccc", "/A/b/C", "/a/b", "/x/b/c", "/a/x/c", "/a/b/cd", "/q"] {
      let matching = patterns.filter { (try? RegularExpression($0))?.matches(path) == true }
      let longest = matching.max { $0.utf8.count < $1.utf8.count }
      let table = RouteTable(
        patterns.map { .sample("a", [$0: RouteMatch(path: .regularExpression($0))]) }
          + (0..<20).map { .sample("b", ["": RouteMatch(path: .regularExpression("/other\($0)/x*"))]) })
      #expect(table.rule(.request(path)) == longest)
    }
  }

  /// The least of several measurements, taken in turn. A search through all would cost a hundred times as much.
  @Test(arguments: ["paths", "hosts", "headers", "expressions"])
  func aThousandRoutesCostAboutWhatTenDo(_ shape: String) {
    func sample(_ count: Int) -> (table: RouteTable, head: HTTPHead) {
      let routes = (0..<count).map { index in
        var match = RouteMatch(path: .prefix("/service/item\(index)"))
        if shape == "hosts" { match = RouteMatch() }
        if shape == "headers" { match = RouteMatch(headers: [.init(name: "version", value: "v\(index)")]) }
        if shape == "expressions" { match.path = .regularExpression("/service/item\(index)/[a-z]*") }
        return Route.sample(
          "r\(index)", ["": match], hostnames: shape == "hosts" ? ["h\(index).example.com"] : [])
      }
      let last = count - 1
      return (
        RouteTable(routes),
        .request("/service/item\(last)/x", host: "h\(last).example.com", ["version": "v\(last)"])
      )
    }
    var matches = 0
    func time(_ sample: (table: RouteTable, head: HTTPHead)) -> Duration {
      let group = sample.table.group(clientNamespace: "shop")
      return ContinuousClock().measure {
        for _ in 0..<200 where group?.match(sample.head) != nil { matches += 1 }
      }
    }
    let (small, large) = (sample(10), sample(1000))
    var best = (small: Duration.seconds(100), large: Duration.seconds(100))
    for _ in 0..<20 { best = (min(best.small, time(small)), min(best.large, time(large))) }
    #expect(matches == 20 * 2 * 200)
    #expect(best.large < best.small * 3)
  }

  /// Each match of a random table tried for a request, the best by the specification's order taken.
  @Test func randomTablesAgreeWithASearchThroughAllMatches() {
    var random = RoutingRandom(state: 21)
    let paths = ["/", "/a", "/a/b", "/a/b/c", "/b", "/ab"]
    for round in 0..<200 {
      let matches = (0..<Int.random(in: 1...40, using: &random)).map { _ in
        let path = paths.randomElement(using: &random)!
        var match = RouteMatch(path: Bool.random(using: &random) ? .exact(path) : .prefix(path))
        if Bool.random(using: &random) { match.method = "POST" }
        for name in ["x", "y"] where Bool.random(using: &random) {
          match.headers.append(.init(name: name, value: "\(Int.random(in: 0...2, using: &random))"))
        }
        return match
      }
      var route = Route.sample("a", [:])
      route.rules = matches.enumerated().map { RouteRule(name: "\($0.offset)", matches: [$0.element]) }
      let table = RouteTable([route])
      for _ in 0..<20 {
        let path = paths.randomElement(using: &random)!
        let method = ["GET", "POST"].randomElement(using: &random)!
        let values = ["x", "y"].map { ($0, "\(Int.random(in: 0...2, using: &random))") }
        var head = HTTPHead.request(path, method: method)
        for (name, value) in values { head.append(name, value) }
        let taking = matches.indices.filter { index in
          let match = matches[index]
          let takesPath: Bool
          switch match.path {
          case .exact(let text): takesPath = path == text
          case .prefix(let text): takesPath = text == "/" || path == text || path.hasPrefix(text + "/")
          case .regularExpression: takesPath = false
          }
          return takesPath && (match.method.isEmpty || match.method == method)
            && match.headers.allSatisfy { header in values.contains { $0 == (header.name, header.value) } }
        }
        func rank(_ index: Int) -> [Int] {
          let match = matches[index]
          let isExact = if case .exact = match.path { 0 } else { 1 }
          let length = if case .prefix(let text) = match.path { -text.count } else { 0 }
          return [isExact, length, match.method.isEmpty ? 1 : 0, -match.headers.count, index]
        }
        let best = taking.min { rank($0).lexicographicallyPrecedes(rank($1)) }
        #expect(table.rule(head) == best.map(String.init), "round \(round), \(method) \(path) \(values)")
      }
    }
  }

  @Test func whateverARequestHoldsIsMatchedOrNot() {
    let value = RouteMatch.Value(name: "a", value: "[a-c]*", isRegularExpression: true)
    let table = RouteTable([
      .sample("a", ["x": RouteMatch(path: .prefix("/a"), headers: [value], queryParameters: [value])]),
      .sample("b", ["y": RouteMatch(path: .regularExpression("/(a|b)*"))], hostnames: ["*.a", "a.a"]),
      .sample("c", ["z": RouteMatch(path: .exact("/a"))], hostnames: ["b"]),
    ])
    var random = RoutingRandom(state: 2)
    let alphabet = Array("ab/?&=%+.:[]@1*# \r\u{0}é".utf8)
    func text() -> [UInt8] {
      (0..<Int.random(in: 0...10, using: &random)).map { _ in alphabet.randomElement(using: &random)! }
    }
    var counts: [String: Int] = [:]
    for _ in 0..<5000 {
      var head = HTTPHead()
      head.setAuthority(["a.a", "b", "c"].randomElement(using: &random)!.utf8)
      if Bool.random(using: &random) { head.setAuthority(text()) }
      head.setPath(Array("/a".utf8.prefix(Int.random(in: 0...2, using: &random))) + text())
      for _ in 0..<Int.random(in: 0...2, using: &random) { head.append(name: "a".utf8, value: text()) }
      counts[table.rule(head) ?? "none", default: 0] += 1
    }
    #expect(counts["y", default: 0] > 100)
    #expect(counts["none", default: 0] > 100)
  }
}
