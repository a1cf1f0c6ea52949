import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Session persistence (GEP-1619).
  @Suite struct HTTPSessionTests {
    private static let now = UInt32(time(nil))

    private func pair(_ cookie: String?) throws -> String { String(try #require(cookie).prefix { $0 != ";" }) }

    private func rule(
      _ weights: KeyValuePairs<String, UInt32>, path: String = "/", name: String = "s", filters: [RouteFilter] = []
    ) -> RouteRule {
      RouteRule(
        matches: [RouteMatch(path: .prefix(path))], filters: filters,
        backends: weights.map {
          RouteBackend(service: ServiceKey(namespace: "shop", name: $0.key), port: 80, weight: $0.value)
        }, sessionPersistence: SessionPersistence(name: name))
    }

    /// `blue` and `green` with these rules, and a client.
    private func withBackends(_ rules: [RouteRule], _ body: (HTTPLab, HTTPPeer) throws -> Void) throws {
      let lab = try HTTPLab(others: ["blue", "green"], routes: [.web(rules)])
      let backends = ["blue", "green"].compactMap { lab.others[$0] }
      let serving = [serve(backends[0], as: "blue"), serve(backends[1], as: "green")]
      let client = try lab.connect()
      try body(lab, client)
      client.close()
      try stop(backends, serving)
      try lab.finish(threads: serving.count)
    }

    @Test func aCookieKeepsItsEndpoint() throws {
      let lab = try HTTPLab(
        backends: 4,
        policies: [
          .web {
            $0.sessionPersistence = SessionPersistence(name: "sticky", absoluteTimeout: 60, isPermanent: true)
            $0.loadBalancer = LoadBalancer(algorithm: .roundRobin)
            $0.retry = RetryPolicy(attempts: 3)
          }
        ])
      let serving = lab.backends.enumerated().map { serve($0.element, as: "b\($0.offset)") }
      let client = try lab.connect()
      try client.get()
      let first = try client.read()
      let cookie = try #require(first["set-cookie"])
      #expect(cookie.hasPrefix("sticky=1") && cookie.hasSuffix("; Max-Age=60; Path=/; HttpOnly; SameSite=Strict"))
      let pair = try pair(cookie)
      for _ in 0..<12 {
        try client.get("/", "Cookie: other=1; \(pair)")
        let answer = try client.read()
        #expect(answer.text == first.text && answer["set-cookie"] == nil)
      }
      // Others are spread.
      var seen: Set<String> = []
      for _ in 0..<8 {
        try client.get("/", "Cookie: sticky=nonsense")
        seen.insert(try client.read().text)
      }
      #expect(seen.count == 4)
      // Its endpoint leaves: another one, and another cookie.
      let index = try #require(Int(first.text.dropFirst()))
      try lab.change { $0.removedWorkloads = ["shop/web-\(index)"] }
      try client.get("/", "Cookie: \(pair)", "X-Forwarded-Proto: https")
      let moved = try client.read()
      #expect(moved.text != first.text && moved["set-cookie"]?.hasSuffix("; SameSite=Strict; Secure") == true)
      client.close()
      try stop(lab.backends, serving)
      try lab.finish(threads: serving.count)
    }

    /// A session's endpoint that refuses connections isn't asked again and again.
    @Test func whoseEndpointIsDeadMovesOn() throws {
      let settings = SessionPersistence(name: "X-Session", isHeader: true)
      let lab = try HTTPLab(backends: 1, dead: 1, policies: [.web { $0.sessionPersistence = settings }])
      let serving = [serve(lab.backends[0], as: "alive")]
      let dead = try lab.node.on { worker in
        let endpoints = worker.snapshot.endpoints(of: HTTPLab.web)
        return SocketAddress(endpoints[1].addresses[0], endpoints[1].targetPort(for: 80)!)
      }
      let token = text(token(settings, dead))
      let client = try lab.connect()
      try client.get("/", "X-Session: \(token)")
      let answer = try client.read()
      #expect(answer.text == "alive" && answer["x-session"] != nil && answer["x-session"] != token)
      client.close()
      try stop(lab.backends, serving)
      try lab.finish(threads: serving.count)
    }

    // MARK: Rules and their backends

    /// GEP-1619, "Traffic Splitting": whatever the weights have become.
    @Test func aSessionGoesBeforeTheWeights() throws {
      try withBackends([rule(["blue": 1, "green": 1])]) { lab, client in
        try client.get()
        let first = try client.read()
        let other = first.text == "blue" ? "green" : "blue"
        let pair = try pair(first["set-cookie"])
        for weights in [(1, 1), (1, 1_000_000), (0, 1), (0, 0)] as [(UInt32, UInt32)] {
          try lab.change { $0.routes = [.web([rule([first.text: weights.0, other: weights.1])])] }
          for _ in 0..<10 {
            try client.get("/", "Cookie: \(pair)")
            let answer = try client.read()
            #expect(answer.text == first.text && answer["set-cookie"] == nil, "\(weights)")
          }
        }
        // Who has no session gets what the weights say.
        try client.get()
        #expect(try client.read().status == 500)
        try lab.change { $0.routes = [.web([rule([first.text: 0, other: 1])])] }
        try client.get()
        #expect(try client.read().text == other)
        // And a backend that the rule has no more is none.
        try lab.change { $0.routes = [.web([rule([other: 1])])] }
        try client.get("/", "Cookie: \(pair)")
        let moved = try client.read()
        #expect(moved.text == other && moved["set-cookie"] != nil)
      }
    }

    /// GEP-1619, "Two Routes Rules have Session Persistence to the Same Service", also where both chose the same name.
    @Test func rulesShareNoSession() throws {
      let rules = [rule(["blue": 1], path: "/a"), rule(["blue": 0, "green": 1], path: "/b")]
      try withBackends(rules) { _, client in
        try client.get("/a/x")
        let first = try client.read()
        #expect(first.text == "blue" && first["set-cookie"]?.contains("; Path=/a; ") == true)
        let ofA = try pair(first["set-cookie"])
        try client.get("/b", "Cookie: \(ofA)")
        let second = try client.read()
        #expect(second.text == "green" && second["set-cookie"]?.contains("; Path=/b; ") == true)
        let ofB = try pair(second["set-cookie"])
        // Each finds its own, in whatever order they come.
        for cookies in ["\(ofA); \(ofB)", "\(ofB); \(ofA)"] {
          for (path, backend) in [("/a", "blue"), ("/b", "green")] {
            try client.get(path, "Cookie: \(cookies)")
            let answer = try client.read()
            #expect(answer.text == backend && answer["set-cookie"] == nil)
          }
        }
      }
    }

    @Test func aRuleHidesItsCookieFromBackendsAndKnowsItStill() throws {
      let filters: [RouteFilter] = [.requestHeaders(HeaderEdit(remove: ["cookie"]))]
      try withBackends([rule(["blue": 1, "green": 1], filters: filters)]) { _, client in
        try client.get()
        let first = try client.read()
        let pair = try pair(first["set-cookie"])
        for _ in 0..<12 {
          try client.get("/", "Cookie: \(pair)")
          #expect(try client.read().text == first.text)
        }
      }
    }

    /// A hedge at another endpoint would take the session with it.
    @Test func aSessionIsNotHedged() throws {
      let lab = try HTTPLab(
        backends: 2,
        policies: [
          .web {
            $0.sessionPersistence = SessionPersistence(name: "s")
            $0.hedging = Hedging(percentile: 50, minimumDelay: 20)
            $0.loadBalancer = LoadBalancer(algorithm: .roundRobin)
          }
        ])
      // Slow is who is named.
      let serving = lab.backends.enumerated().map { index, backend in
        inBackground {
          while let socket = try? backend.accept() {
            _ = inBackground {
              let peer = HTTPPeer(socket)
              while let request = try? peer.read() {
                if request.target == "/b\(index)" { usleep(200_000) }
                try peer.respond(200, "b\(index)")
              }
            }
          }
        }
      }
      let client = try lab.connect()
      var cookies: [String: String] = [:]
      // So many that it knows what is usual.
      for _ in 0..<100 {
        try client.get()
        let answer = try client.read()
        cookies[answer.text] = try pair(answer["set-cookie"])
      }
      for (name, pair) in cookies {
        try client.get("/\(name)")
        _ = try client.read()
        try client.get("/\(name)", "Cookie: \(pair)")
        #expect(try client.read().text == name)
      }
      #expect(cookies.count == 2)
      client.close()
      try stop(lab.backends, serving)
      try lab.finish(threads: serving.count)
    }

    // MARK: Time

    private func token(_ settings: SessionPersistence, _ address: SocketAddress) -> SessionToken {
      SessionKeeper(settings, rule: nil, service: HTTPLab.web, port: 80)
        .renewal(of: nil, backend: 0, address: address, now: Self.now)!
    }

    private func text(_ token: SessionToken) -> String {
      var bytes: [UInt8] = []
      token.write(to: &bytes)
      return String(decoding: bytes, as: UTF8.self)
    }

    @Test func timeoutsHoldForHeadersToo() throws {
      let settings = SessionPersistence(name: "x-session", isHeader: true, absoluteTimeout: 600, idleTimeout: 100)
      let lab = try HTTPLab(
        backends: 2,
        policies: [
          .web {
            $0.sessionPersistence = settings
            $0.loadBalancer = LoadBalancer(algorithm: .roundRobin)
          }
        ])
      let serving = lab.backends.enumerated().map { serve($0.element, as: "b\($0.offset)") }
      let client = try lab.connect()
      let endpoint = token(settings, lab.backends[1].address)
      func ask(issued: UInt32, used: UInt32) throws -> (name: String, token: SessionToken?) {
        var token = endpoint
        token.issued = Self.now - issued
        token.used = Self.now - used
        try client.get("/", "X-Session: \(text(token))")
        let answer = try client.read()
        return (
          answer.text,
          answer["x-session"].flatMap { text in Array(text.utf8).withUnsafeBytes { SessionToken($0) } }
        )
      }
      for _ in 0..<4 {
        // Used just now: nothing to say.
        let fresh = try ask(issued: 300, used: 0)
        #expect(fresh.name == "b1" && fresh.token == nil)
        // A use is noted, and the session isn't younger for it.
        let used = try ask(issued: 300, used: 50)
        #expect(used.name == "b1" && used.token?.issued == Self.now - 300)
        #expect(used.token?.endpoint == endpoint.endpoint && used.token?.used ?? 0 >= Self.now)
      }
      for (issued, used) in [(601, 0), (300, 200)] as [(UInt32, UInt32)] {
        var names: Set<String> = []
        for _ in 0..<4 {
          let expired = try ask(issued: issued, used: used)
          names.insert(expired.name)
          #expect(expired.token?.issued ?? 0 >= Self.now)
        }
        #expect(names == ["b0", "b1"])
      }
      client.close()
      try stop(lab.backends, serving)
      try lab.finish(threads: serving.count)
    }
  }
}
