import MeshModel
import Testing

@testable import ProxyCore

@Suite struct RouteMatchValueTests {
  private func takes(header name: String, _ value: String, isRegularExpression: Bool = false, _ head: HTTPHead) -> Bool
  {
    let value = RouteMatch.Value(name: name, value: value, isRegularExpression: isRegularExpression)
    return RouteTable([.sample("a", ["": RouteMatch(headers: [value])])]).rule(head) != nil
  }

  private func takes(parameter name: String, _ value: String, isRegularExpression: Bool = false, _ path: String) -> Bool
  {
    let value = RouteMatch.Value(name: name, value: value, isRegularExpression: isRegularExpression)
    return RouteTable([.sample("a", ["": RouteMatch(queryParameters: [value])])]).rule(.request(path)) != nil
  }

  @Test func namesOfHeadersInAnyCaseAndValuesExactly() {
    #expect(takes(header: "x-user", "Jo", .request("/", ["X-User": "Jo"])))
    #expect(takes(header: "X-USER", "Jo", .request("/", ["x-user": "Jo"])))
    #expect(!takes(header: "x-user", "Jo", .request("/", ["X-User": "jo"])))
    #expect(!takes(header: "x-user", "Jo", .request("/", ["X-User": "Jon"])))
    #expect(!takes(header: "x-user", "Jo", .request("/")))
  }

  @Test func repeatedHeadersAreJoined() {
    let head = HTTPHead.request("/", ["A": "1", "b": "x", "a": "2", "A": "3"])
    #expect(takes(header: "a", "1, 2, 3", head))
    #expect(!takes(header: "a", "1", head))
    #expect(takes(header: "a", "\\d(, \\d)*", isRegularExpression: true, head))
    #expect(!takes(header: "a", "\\d", isRegularExpression: true, head))
  }

  @Test func theHostIsTheAuthority() {
    var head = HTTPHead()
    head.setAuthority("a.example".utf8)
    head.setPath("/".utf8)
    #expect(takes(header: "host", "a.example", head))
    #expect(!takes(header: "Host", "b.example", head))
  }

  @Test func ofConditionsWithTheSameNameTheFirstCounts() {
    let table = RouteTable([
      .sample(
        "a",
        [
          "two": RouteMatch(headers: [.init(name: "a", value: "1"), .init(name: "A", value: "2")]),
          "more": RouteMatch(headers: [.init(name: "a", value: "1"), .init(name: "b", value: "1")]),
        ])
    ])
    #expect(table.rule(.request("/", ["a": "1"])) == "two")
    #expect(table.rule(.request("/", ["a": "1", "b": "1"])) == "more")
    #expect(table.rule(.request("/", ["a": "2"])) == nil)
  }

  @Test(arguments: [
    ("/?a=1", true), ("/?b=2&a=1", true), ("/?a=1&a=2", true), ("/?a=2&a=1", false), ("/?A=1", false), ("/?a", false),
    ("/?aa=1", false), ("/?a=11", false), ("/?%61=%31", true), ("/?a=1#x", false), ("/a=1", false), ("/?&&a=1", true),
    ("/?a=%3", false), ("/?x=a=1", false), ("/?", false), ("/?a=1?a=1", false),
  ])
  func queryParametersExactly(_ path: String, _ expected: Bool) {
    #expect(takes(parameter: "a", "1", path) == expected)
  }

  @Test func queryParametersAreDecoded() {
    #expect(takes(parameter: "full name", "Jo é&", "/?full+name=Jo%20%C3%a9%26"))
    #expect(takes(parameter: "a", "100%", "/?a=100%"))
    #expect(takes(parameter: "a", "%zz", "/?a=%zz"))
    #expect(takes(parameter: "a", "", "/?a"))
    #expect(takes(parameter: "a", "[a-z]+ [0-9]", isRegularExpression: true, "/?a=abc+7"))
    #expect(!takes(parameter: "a", "[a-z]+", isRegularExpression: true, "/?a=abc+7"))
  }
}
