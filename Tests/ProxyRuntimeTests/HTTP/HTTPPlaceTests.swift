import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Places of idle connections: another event loop's, of a limit that is lowered, of a policy that has gone.
  @Suite struct HTTPPlaceTests {
    private static func limit(_ connections: UInt32?) -> TrafficPolicy {
      .web {
        $0.circuitBreaker = CircuitBreaker(maxConnections: connections)
        $0.timeouts = Timeouts(connect: 20_000)
      }
    }

    /// So many connections to the endpoint that are idle once this returns.
    private func idle(
      _ count: Int, _ lab: HTTPLab, path: String = "/", worker: Int = 0
    ) throws -> [(client: HTTPPeer, backend: HTTPPeer)] {
      let clients = try (0..<count).map { _ in try lab.connect(worker: worker) }
      for client in clients { try client.get(path) }
      let backends = try clients.map { _ in try lab.accept() }
      for backend in backends {
        _ = try backend.read()
        try backend.respond(200, "fine")
      }
      for client in clients { #expect(try client.read().text == "fine") }
      return Array(zip(clients, backends))
    }

    private func serve(_ client: HTTPPeer, _ backend: HTTPPeer) throws {
      _ = try backend.read()
      try backend.respond(200, "fine")
      #expect(try client.read().text == "fine")
    }

    @Test func anotherWorkersIdleConnectionIsGivenUp() throws {
      let lab = try HTTPLab(policies: [Self.limit(2)], workers: 2)
      let pairs = try idle(2, lab)
      let other = try lab.connect(worker: 1)
      try other.get()
      try serve(other, try lab.accept())
      #expect(try lab.count(.connections) == 2 && lab.count(.pending) == 0)
      for pair in pairs { pair.client.close() }
      other.close()
      try lab.finish()
    }

    /// One that is under way ends there, and goes to who waits here.
    @Test func whatAnotherWorkerGivesBack() throws {
      let lab = try HTTPLab(policies: [Self.limit(1)], workers: 2)
      let (first, second) = (try lab.connect(worker: 0), try lab.connect(worker: 1))
      try first.get()
      let backend = try lab.accept()
      _ = try backend.read()
      try second.get("/2")
      #expect(try eventually { try lab.count(.pending) == 1 })
      try backend.respond(200, "fine")
      #expect(try first.read().text == "fine")
      try serve(second, try lab.accept())
      first.close()
      second.close()
      try lab.finish()
    }

    @Test func aLoweredLimitEndsIdleConnections() throws {
      let lab = try HTTPLab(policies: [Self.limit(8)])
      let pairs = try idle(8, lab)
      #expect(try lab.count(.connections) == 8)
      try lab.use(Self.limit(2))
      #expect(try eventually { try lab.count(.connections) == 2 })
      let open = pairs.count { $0.backend.isSilent(for: 0) }
      #expect(open == 2)
      for pair in pairs { pair.client.close() }
      try lab.finish()
    }

    /// A policy of the port goes before the Service's: its limit is kept from the first request on, and what was opened
    /// before isn't used beside it.
    @Test func anotherPolicysLimitHolds() throws {
      let lab = try HTTPLab(policies: [Self.limit(8)])
      let pairs = try idle(3, lab)
      try lab.use(
        .of(name: "port") {
          $0.targets = [.init(kind: .service(HTTPLab.web), port: 80)]
          $0.circuitBreaker = CircuitBreaker(maxConnections: 1, maxPending: 0)
        })
      try pairs[0].client.get()
      let backend = try lab.accept()
      _ = try backend.read()
      #expect(try pairs[1].client.ask().isRefusal(503, "UO"))
      for pair in pairs { #expect(pair.backend.socket.receiveError() == ECONNRESET) }
      try backend.respond(200, "fine")
      #expect(try pairs[0].client.read().text == "fine")
      #expect(try lab.count(.connections) == 1)
      for pair in pairs { pair.client.close() }
      try lab.finish()
    }

    /// One policy for a Service and a route of it: once it is the Service's alone, the route's connections hold no place.
    @Test func aRouteThatIsShapedNoMore() throws {
      let both: TrafficPolicy = .of("web", route: "r") {
        $0.circuitBreaker = CircuitBreaker(maxConnections: 1)
        $0.timeouts = Timeouts(connect: 20_000)
      }
      let lab = try HTTPLab(backends: 2, routes: [.web([.to("web")])], policies: [both])
      let client = try lab.connect()
      try client.get()
      let (index, backend) = try lab.acceptAny()
      try serve(client, backend)
      try lab.set(index, isReady: false)
      var alone = both
      alone.targets.removeLast()
      try lab.use(alone)
      #expect(backend.socket.receiveError() == ECONNRESET)
      try client.get("/again")
      try serve(client, try lab.accept(1 - index))
      client.close()
      try lab.finish()
    }
  }

  /// A connection that carries something else than HTTP now.
  @Suite struct UpgradePlaceTests {
    @Test func itHoldsItsPlaceUntilItEnds() throws {
      let lab = try HTTPLab(policies: [
        .web {
          $0.circuitBreaker = CircuitBreaker(maxConnections: 1)
          $0.timeouts = Timeouts(idle: 6000, connect: 20_000)
        }
      ])
      let client = try lab.connect()
      try client.get("/chat", "Connection: Upgrade", "Upgrade: websocket")
      let backend = try lab.accept()
      _ = try backend.read()
      try backend.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
      #expect(try client.readHead().status == 101)
      let other = try lab.connect()
      // It goes on sending, so that its own wait isn't idle.
      try other.write("POST /other HTTP/1.1\r\nHost: web\r\nContent-Length: 1000\r\n\r\n")
      var sent = 0
      #expect(try eventually { try lab.count(.pending) == 1 })
      for _ in 0..<5 {
        try client.write("x")
        #expect(try backend.take(1).count == 1)
        #expect(try lab.count(.connections) == 1 && lab.count(.pending) == 1)
      }
      while client.isSilent(for: 50), sent < 400 {
        #expect(lab.isLeftAlone(for: 0))
        try other.write("y")
        sent += 1
      }
      // By the policy's idle timeout.
      #expect(client.socket.receiveError() == ECONNRESET)
      #expect(backend.socket.receiveError() == ECONNRESET)
      let next = try lab.accept()
      try other.write(String(repeating: "y", count: 1000 - sent))
      #expect(try next.read().target == "/other")
      try next.respond(200, "fine")
      #expect(try other.read().text == "fine")
      client.close()
      other.close()
      try lab.finish()
    }
  }
}
