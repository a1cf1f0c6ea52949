import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Where requests go: rules, mirrors, hashes, ejections.
  @Suite struct HTTPRoutingTests {
    @Test func aChangeHoldsFromTheNextRequestOn() throws {
      let lab = try HTTPLab(others: ["blue", "green"], routes: [.web([.to("blue")])])
      let client = try lab.connect()
      try client.get("/1")
      let blue = try lab.accept("blue")
      #expect(try blue.read().target == "/1")
      // The request that is under way goes on as it began.
      try lab.change { $0.routes = [.web([.to("green")])] }
      try blue.respond(200, "blue")
      #expect(try client.read().text == "blue")
      try client.get("/2")
      let green = try lab.accept("green")
      #expect(try green.read().target == "/2")
      try green.respond(200, "green")
      #expect(try client.read().text == "green")
      // And without a route to the Service itself.
      try lab.change { $0.removedRoutes = ["HTTPRoute/shop/r"] }
      try client.get("/3")
      let web = try lab.accept()
      #expect(try web.read().target == "/3")
      try web.respond(200, "web")
      #expect(try client.read().text == "web")
      try lab.change { $0.removedServices = [HTTPLab.web] }
      try client.get("/4")
      #expect(try client.read().status == 503)
      try lab.change {
        $0.services = [Service(key: HTTPLab.web, addresses: [], ports: [.init(port: 80, appProtocol: "http")])]
      }
      try client.get("/5")
      // Connections of a Service that was gone aren't kept.
      let back = try lab.accept()
      #expect(try back.read().target == "/5")
      try back.respond(200, "back")
      #expect(try client.read().text == "back")
      client.close()
      try lab.finish()
    }

    @Test(arguments: [true, false]) func noRuleAndNoBackend(saysWhy: Bool) throws {
      let lab = try HTTPLab(
        routes: [.web([.to("web", path: "/web"), .to("none", path: "/invalid", invalid: "no such Service")])],
        policies: [.web { if !saysWhy { $0.headers = HeaderOptions() } }])
      let client = try lab.connect()
      for (path, status, reason) in [
        ("/other", 404, "NR: no route matches"), ("/invalid", 500, "NC: the route's backend doesn't exist"),
      ] {
        try client.get(path)
        let answer = try client.read()
        #expect(answer.status == status && answer["weft-reason"] == (saysWhy ? reason : nil))
        #expect(answer["content-type"] == "text/plain" && !answer.body.isEmpty)
      }
      client.close()
      try lab.finish()
    }

    // MARK: Mirrors

    private func mirrored(_ percent: UInt32 = 100, policies: [TrafficPolicy] = []) throws -> HTTPLab {
      let mirror = Mirror(
        service: ServiceKey(namespace: "shop", name: "copy"), port: 80, numerator: percent, denominator: 100)
      return try HTTPLab(
        others: ["copy"], routes: [.web([.to("web", filters: [.mirror(mirror)])])], policies: policies)
    }

    @Test func aMirrorGetsACopyOfAll() throws {
      let lab = try mirrored()
      let client = try lab.connect()
      try client.write("POST /1 HTTP/1.1\r\nHost: web\r\nX-Own: 1\r\nContent-Length: 6\r\n\r\nabc")
      let backend = try lab.accept()
      let copy = try lab.accept("copy")
      try client.write("def")
      let (request, copied) = (try backend.read(), try copy.read())
      #expect(request.text == "abcdef" && copied.text == "abcdef")
      #expect(copied.target == "/1" && copied["x-own"] == "1")
      // Whatever the mirror says, and whenever.
      try copy.respond(500, "nobody reads this")
      try backend.respond(200, "answer")
      #expect(try client.read().text == "answer")
      // Its connection serves the next copy.
      try client.get("/2")
      #expect(try copy.read().target == "/2")
      #expect(try backend.read().target == "/2")
      try backend.respond(200, "second")
      #expect(try client.read().text == "second")
      try copy.respond(200, "late")
      client.close()
      try lab.finish()
    }

    @Test func aMirrorNeverHoldsUp() throws {
      let lab = try mirrored()
      let client = try lab.connect()
      // More than its sockets hold, and it reads nothing.
      let size = 32 << 20
      let body = [UInt8](repeating: 7, count: size)
      try client.write("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: \(size)\r\n\r\n")
      // Both are connected: what waits for a connection is bounded too.
      let backend = try lab.accept()
      let copy = try lab.accept("copy")
      let socket = client.socket
      let writing = inBackground { try socket.write(body) }
      #expect(try backend.read().body.count == size)
      try writing.get()
      try backend.respond(200, "answer")
      #expect(try client.read().text == "answer")
      copy.close()
      client.close()
      try lab.finish(threads: 1)
    }

    @Test func aMirrorThatIsDeadIsForgotten() throws {
      let lab = try mirrored()
      let copy = try #require(lab.others["copy"])
      shutdown(copy.fd, Int32(SHUT_RD))
      let client = try lab.connect()
      try client.get("/0")
      let backend = try lab.accept()
      for round in 0..<20 {
        _ = try backend.read()
        try backend.respond(200, "\(round)")
        #expect(try client.read().text == "\(round)")
        if round < 19 { try client.get("/\(round + 1)") }
      }
      client.close()
      try lab.finish()
    }

    /// What came while an injected delay held the request belongs to the copy too.
    @Test func aDelayedRequestIsCopiedWhole() throws {
      let lab = try mirrored(policies: [.web { $0.faults = [Fault(effect: .delay(50))] }])
      let client = try lab.connect()
      try client.post("/", "whole")
      let backend = try lab.accept()
      let copy = try lab.accept("copy")
      #expect(try backend.read().text == "whole")
      #expect(try copy.read().text == "whole")
      try backend.respond(200, "answer")
      #expect(try client.read().text == "answer")
      client.close()
      try lab.finish()
    }

    // MARK: Who serves whom

    @Test func aHashByHeader() throws {
      let lab = try HTTPLab(
        backends: 4,
        policies: [
          .web { $0.loadBalancer = LoadBalancer(algorithm: .ringHash(.header("x-user"))) }
        ])
      let serving = lab.backends.enumerated().map { serve($0.element, as: "b\($0.offset)") }
      let client = try lab.connect()
      var home: [Int: String] = [:]
      for round in 0..<3 {
        for user in 0..<30 {
          try client.get("/", "X-User: \(user)")
          let name = try client.read().text
          if round == 0 { home[user] = name } else { #expect(home[user] == name) }
        }
      }
      #expect(Set(home.values).count == 4)
      client.close()
      try stop(lab.backends, serving)
      try lab.finish(threads: serving.count)
    }

    @Test func theBalancersOwnCookie() throws {
      let lab = try HTTPLab(
        backends: 4,
        policies: [
          .web { $0.loadBalancer = LoadBalancer(algorithm: .maglev(.cookie("lb", ttl: 9))) }
        ])
      let serving = lab.backends.enumerated().map { serve($0.element, as: "b\($0.offset)") }
      let client = try lab.connect()
      for _ in 0..<5 {
        try client.get()
        let first = try client.read()
        let cookie = try #require(first["set-cookie"])
        #expect(cookie.hasPrefix("lb=") && cookie.contains("; Max-Age=9;"))
        for _ in 0..<5 {
          try client.get("/", "Cookie: \(cookie.prefix { $0 != ";" })")
          let answer = try client.read()
          #expect(answer.text == first.text && answer["set-cookie"] == nil)
        }
      }
      client.close()
      try stop(lab.backends, serving)
      try lab.finish(threads: serving.count)
    }

    @Test func anEndpointThatFailsIsLeftOutForAWhile() throws {
      let lab = try HTTPLab(
        backends: 2,
        policies: [
          .web {
            $0.loadBalancer = LoadBalancer(algorithm: .roundRobin)
            $0.outlierDetection = OutlierDetection(
              consecutiveErrors: 3, interval: 100, baseEjectionTime: 3000, maximumEjectionTime: 3000,
              maximumEjectionPercent: 50)
          }
        ])
      let serving = [serve(lab.backends[0], as: "good"), serve(lab.backends[1], as: "bad", status: 500)]
      let client = try lab.connect()
      var failures = 0
      for _ in 0..<6 {
        try client.get()
        if try client.read().status == 500 { failures += 1 }
      }
      #expect(failures == 3)
      let ejected = EventLoop.clock()
      for _ in 0..<20 {
        try client.get()
        #expect(try client.read().text == "good")
      }
      // It comes back, for its next failures.
      let returned = try eventually {
        try client.get()
        return try client.read().status == 500
      }
      #expect(returned && EventLoop.clock() - ejected >= .milliseconds(1000))
      client.close()
      try stop(lab.backends, serving)
      try lab.finish(threads: serving.count)
    }
  }
}
