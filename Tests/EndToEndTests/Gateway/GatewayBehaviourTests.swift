import Foundation
import Testing

/// Copies of requests, CORS, timeouts and retries.
extension EndToEnd.GatewayTests {
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
      let none = try send("/none", 40)
      // Of 300 so many come, far beyond four deviations: 25 % ± 7.5, 10 % ± 5.2.
      for (path, range) in [("/share", 43...107), ("/fraction", 8...52)] {
        var counts: [Int] = []
        // Once a sample was out of it on a CI machine and none of dozens after that: what comes again is an error.
        while counts.count < 3, counts.last.map(range.contains) != true {
          let key = try send(path, 300)
          let end = Date().addingTimeInterval(3)
          var count = 0
          while Date() < end, !range.contains(count) { count = (try? seen(key, at: "two").count) ?? count }
          counts.append(count)
        }
        if counts.count > 1 { print("copies of \(path): \(counts)") }
        #expect(counts.last.map(range.contains) == true, "copies of \(path): \(counts)")
      }
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

  @Test("a route's retry: so many more tries, by the statuses that it names")
  func retry() throws {
    let rules = """
      - matches: [{path: {value: /named}}]
        retry: {attempts: 2, codes: [503], backoff: 10ms}
        backendRefs: [{name: two, port: 8080}]
      - backendRefs: [{name: two, port: 8080}]
      """
    try with(route(rules)) {
      try expect([(.get("/named?status=503"), .status(503))])
      for (path, tries) in [("/named?status=503", 3), ("/named?status=500", 1), ("/other?status=503", 1)] {
        let key = "retry-\(UUID().uuidString.prefix(8))"
        _ = try ask([.get(path, ["x-key": key])])
        #expect(try seen(key, at: "two").count == tries, "\(path)")
      }
    }
  }
}
