import MeshModel
import Testing

@testable import ProxyCore

@Suite struct FiltersTests {
  // MARK: Headers

  @Test func setAddAndRemoveWithNamesInAnyCase() throws {
    let filter = try HeaderFilter(
      HeaderEdit(
        set: [
          .init(name: "X-Set", value: "new"), .init(name: "x-set", value: "ignored"), .init(name: "Made", value: "1"),
        ],
        add: [.init(name: "x-add", value: "b")], remove: ["X-GONE", "absent"]))
    var head = HTTPHead.request(
      "/", ["x-set": "old", "X-Add": "a", "X-Gone": "1", "X-SET": "older", "x-gone": "2", "keep": "k"])
    filter.apply(toRequest: &head)
    #expect(head.lines == ["Host: reviews", "x-set: new", "X-Add: a", "keep: k", "made: 1", "x-add: b"])
  }

  @Test func whatIsSetCanBeAddedToAndRemoved() throws {
    let field = HeaderEdit.Field(name: "a", value: "1")
    var head = HTTPHead()
    try HeaderFilter(HeaderEdit(set: [field], add: [field])).apply(toResponse: &head)
    #expect(head.lines == ["a: 1", "a: 1"])
    try HeaderFilter(HeaderEdit(set: [field], add: [field], remove: ["A"])).apply(toResponse: &head)
    #expect(head.lines == [])
  }

  @Test func theHostOfARequestIsItsAuthorityAndStays() throws {
    var head = HTTPHead.request("/", host: "a.example")
    try HeaderFilter(HeaderEdit(set: [.init(name: "HOST", value: "b.example")], remove: ["host"])).apply(
      toRequest: &head)
    #expect(head.text(head.authority) == "b.example")
    #expect(head.lines == ["Host: b.example"])
    var http2 = HTTPHead()
    try HeaderFilter(HeaderEdit(add: [.init(name: "host", value: "c")])).apply(toRequest: &http2)
    #expect(http2.text(http2.authority) == "c")
    #expect(http2.lines == [])
  }

  @Test(arguments: [
    ("a", "x\r\ny: z"), ("a", "x\ny"), ("a", "x\0"), ("a", "\u{7F}"), ("", "x"), ("a b", "x"), (":path", "/"),
    ("a\n", "x"), ("Transfer-Encoding", "chunked"), ("content-length", "0"), ("Connection", "close"),
  ])
  func fieldsThatWouldBreakAMessageAreRefused(_ name: String, _ value: String) {
    let field = HeaderEdit.Field(name: name, value: value)
    #expect(throws: FilterError.self) { try HeaderFilter(HeaderEdit(set: [field])) }
    #expect(throws: FilterError.self) { try HeaderFilter(HeaderEdit(add: [field])) }
  }

  @Test(arguments: ["", "a b", "te", "x\n"])
  func namesToRemoveAreCheckedToo(_ name: String) {
    #expect(throws: FilterError.self) { try HeaderFilter(HeaderEdit(remove: [name])) }
  }

  // MARK: Mirrors

  @Test(arguments: [(0, 100), (1, 100), (42, 100), (3, 4), (100, 100), (7, 7)] as [(UInt32, UInt32)])
  func mirrorsTakeTheirShare(_ numerator: UInt32, _ denominator: UInt32) {
    let filter = MirrorFilter(Mirror(service: .reviews, port: 80, numerator: numerator, denominator: denominator))
    var random = RoutingRandom(state: 1)
    let draws = 50_000
    let taken = (0..<draws).filter { _ in filter.takes(draw: random.next()) }.count
    let share = Double(numerator) / Double(denominator)
    #expect(abs(Double(taken) - share * Double(draws)) <= 5 * (Double(draws) * share * (1 - share)).squareRoot())
  }

  @Test func invalidMirrorsTakeNothing() {
    #expect(!MirrorFilter(Mirror(service: .reviews, port: 80, invalid: "no such Service")).takes(draw: 0))
    #expect(!MirrorFilter(Mirror(service: .reviews, port: 80, numerator: 1, denominator: 0)).takes(draw: 0))
  }

  // MARK: The chain

  @Test func aChainAppliesTheRewriteAndTheHeaders() {
    let chain = FilterChain([
      .requestHeaders(HeaderEdit(set: [.init(name: "a", value: "1")])), .rewrite(Rewrite(path: .replaceFull("/new"))),
      .responseHeaders(HeaderEdit(set: [.init(name: "b", value: "2")])), .mirror(Mirror(service: .reviews, port: 80)),
    ])
    var request = HTTPHead.request("/old?q")
    chain.applyToRequest(&request, matchedPrefix: 0)
    #expect(request.text(request.path) == "/new?q")
    #expect(request.value("a") == "1")
    var response = HTTPHead()
    chain.applyToResponse(&response)
    #expect(response.lines == ["b: 2"])
    #expect(chain.mirrors.count == 1)
    #expect(chain.refusal == "")
    #expect(!chain.isEmpty)
    #expect(FilterChain([]).isEmpty)
  }

  @Test func aFilterThatCantBeAppliedRefusesTheChain() {
    #expect(FilterChain([.requestHeaders(HeaderEdit(remove: ["a b"]))]).refusal == "\"a b\" isn't the name of a header")
    #expect(FilterChain([.redirect(Redirect()), .rewrite(Rewrite())]).refusal.contains("exclude"))
    #expect(FilterChain([.redirect(Redirect(status: 200))]).refusal.contains("200"))
    #expect(!FilterChain([.cors(CORS(allowOrigins: ["example.com"]))]).isEmpty)
  }
}
