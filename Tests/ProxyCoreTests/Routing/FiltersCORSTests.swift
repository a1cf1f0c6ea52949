import MeshModel
import Testing

@testable import ProxyCore

@Suite struct FiltersCORSTests {
  private func preflight(_ cors: CORS, origin: String = "https://a.example") throws -> [String] {
    let request = HTTPHead.request(
      "/", method: "OPTIONS",
      [
        "Origin": origin, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-one, x-two",
      ])
    let filter = try CORSFilter(cors)
    #expect(filter.isPreflight(request))
    var response = HTTPHead()
    filter.respond(toPreflight: request, into: &response)
    #expect(response.status == 204)
    return response.lines
  }

  @Test func aPreflightOfAnAllowedOrigin() throws {
    let cors = CORS(
      allowOrigins: ["https://b.example", "https://a.example"], allowCredentials: true, allowMethods: ["GET", "PUT"],
      allowHeaders: ["X-One", "X-Two"], exposeHeaders: ["X-Three"], maxAge: 60)
    #expect(
      try preflight(cors) == [
        "vary: Origin", "access-control-allow-origin: https://a.example", "access-control-allow-credentials: true",
        "access-control-allow-methods: GET, PUT", "access-control-allow-headers: X-One, X-Two",
        "access-control-max-age: 60",
      ])
    #expect(try preflight(cors, origin: "https://c.example") == ["vary: Origin"])
    #expect(try preflight(CORS()) == ["vary: Origin"])
  }

  @Test func theWildcardWithAndWithoutCredentials() throws {
    var cors = CORS(allowOrigins: ["*"], allowMethods: ["*"], allowHeaders: ["*"], exposeHeaders: ["*"])
    #expect(
      try preflight(cors) == [
        "access-control-allow-origin: *", "access-control-allow-methods: *", "access-control-allow-headers: *",
        "access-control-max-age: 5",
      ])
    cors.allowCredentials = true
    #expect(
      try preflight(cors) == [
        "vary: Origin", "access-control-allow-origin: https://a.example", "access-control-allow-credentials: true",
        "access-control-allow-methods: PUT", "access-control-allow-headers: x-one, x-two", "access-control-max-age: 5",
      ])
  }

  @Test func withoutWhatWasAskedForTheWildcardAnswersNothing() throws {
    let filter = try CORSFilter(CORS(allowOrigins: ["*"], allowCredentials: true, allowHeaders: ["*"]))
    let request = HTTPHead.request("/", method: "OPTIONS", ["Origin": "null", "access-control-request-method": "GET"])
    var response = HTTPHead()
    filter.respond(toPreflight: request, into: &response)
    #expect(response.value("access-control-allow-origin") == "null")
    #expect(response.value("access-control-allow-headers") == nil)
  }

  @Test func whatIsNoPreflight() throws {
    let filter = try CORSFilter(CORS())
    #expect(!filter.isPreflight(.request("/", method: "OPTIONS", ["Origin": "https://a.example"])))
    #expect(!filter.isPreflight(.request("/", method: "OPTIONS", ["Access-Control-Request-Method": "GET"])))
    #expect(!filter.isPreflight(.request("/", ["Origin": "a", "Access-Control-Request-Method": "GET"])))
  }

  @Test func actualResponses() throws {
    let cors = CORS(allowOrigins: ["https://a.example"], allowCredentials: true, exposeHeaders: ["X-A", "X-B", "*"])
    let filter = try CORSFilter(cors)
    var response = HTTPHead()
    response.append("Access-Control-Allow-Origin", "*")
    response.append("Vary", "Accept, origin")
    filter.apply(toResponse: &response, of: .request("/", ["Origin": "https://a.example"]))
    #expect(
      response.lines == [
        "Vary: Accept, origin", "access-control-allow-origin: https://a.example",
        "access-control-allow-credentials: true", "access-control-expose-headers: X-A, X-B",
      ])
    for request in [HTTPHead.request("/"), .request("/", ["Origin": "https://b.example"])] {
      var other = HTTPHead()
      filter.apply(toResponse: &other, of: request)
      #expect(other.lines == ["vary: Origin"])
    }
  }

  @Test(arguments: [
    ("https://a.example", "https://a.example", true), ("https://a.example", "http://a.example", false),
    ("https://a.example", "https://a.example:443", true), ("https://a.example:443", "https://a.example", true),
    ("http://a.example:80", "http://a.example", true), ("https://a.example", "https://a.example:8443", false),
    ("https://A.example", "https://a.EXAMPLE", true), ("https://*.example.com", "https://a.example.com", true),
    ("https://*.example.com", "https://a.b.example.com", true), ("https://*.example.com", "https://example.com", false),
    ("https://*.example.com", "https://.example.com", false),
    ("https://*.example.com", "https://badexample.com", false),
    ("https://*.example.com", "https://a.example.com.evil", false), ("https://*", "https://any.host", true),
    ("https://*", "http://any.host", false), ("https://*", "https://", false), ("http://*:8080", "http://x:8080", true),
    ("http://*:8080", "http://x", false), ("*", "null", true), ("https://a.example", "null", false),
    ("https://a.example", "https://a.example/", false),
    ("https://*.example.com", "https://evil.com/.example.com", false),
  ])
  func origins(_ pattern: String, _ origin: String, _ expected: Bool) throws {
    let filter = try CORSFilter(CORS(allowOrigins: [pattern]))
    var response = HTTPHead()
    filter.apply(toResponse: &response, of: .request("/", ["Origin": origin]))
    #expect((response.value("access-control-allow-origin") != nil) == expected)
  }

  @Test(arguments: [
    "a.example", "ftp://a", "https://", "https://a*b", "https://*b.example", "https://a:0", "https://a:70000",
  ])
  func brokenOriginsAreRefused(_ origin: String) {
    #expect(throws: FilterError.self) { try CORSFilter(CORS(allowOrigins: [origin])) }
  }

  @Test func brokenNamesAreRefused() {
    #expect(throws: FilterError.self) { try CORSFilter(CORS(allowMethods: ["G T"])) }
    #expect(throws: FilterError.self) { try CORSFilter(CORS(allowHeaders: ["a\r\nb"])) }
    #expect(throws: FilterError.self) { try CORSFilter(CORS(exposeHeaders: [""])) }
  }
}
