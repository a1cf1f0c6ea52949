import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Connections of bytes have places: taken, waited for, and given back however they end.
  @Suite struct TCPPlaceTests {
    private func lab(
      _ breaker: CircuitBreaker, _ timeouts: Timeouts = Timeouts(connect: 20_000), workers: Int = 1
    ) throws -> HTTPLab {
      try HTTPLab(
        speaking: "tcp",
        policies: [
          .web {
            $0.circuitBreaker = breaker
            $0.timeouts = timeouts
          }
        ], workers: workers)
    }

    private func isJoined(_ client: HTTPPeer, _ backend: HTTPPeer) throws -> Bool {
      try client.write("x")
      return try backend.take(1) == [UInt8(ascii: "x")]
    }

    @Test(arguments: [1, 2]) func anEndGivesItsPlaceToWhoWaits(workers: Int) throws {
      let lab = try lab(CircuitBreaker(maxConnections: 1, maxPending: 1), workers: workers)
      let first = try lab.connect(worker: 0)
      #expect(try isJoined(first, lab.accept()))
      let second = try lab.connect(worker: workers - 1)
      #expect(try eventually { try lab.count(.pending) == 1 })
      #expect(lab.isLeftAlone())
      // No room to wait either.
      let third = try lab.connect(worker: 0)
      #expect(third.socket.receiveError() == ECONNRESET)
      #expect(lab.node.logged("failed: UO"))
      third.close()
      #expect(try lab.count(.connections) == 1)
      first.reset()
      #expect(try isJoined(second, lab.accept()))
      #expect(try lab.count(.connections) == 1 && lab.count(.pending) == 0)
      second.reset()
      #expect(try eventually { try lab.isFree() })
      try lab.finish()
    }

    @Test func waitingIsBoundedByTheConnectTime() throws {
      let lab = try lab(CircuitBreaker(maxConnections: 1), Timeouts(connect: 60))
      let first = try lab.connect()
      #expect(try isJoined(first, lab.accept()))
      let second = try lab.connect()
      #expect(second.socket.receiveError() == ECONNRESET)
      #expect(lab.node.logged("failed: UO"))
      second.close()
      first.reset()
      #expect(try eventually { try lab.isFree() })
      try lab.finish()
    }

    @Test func clientsThatLeaveWhileTheyWait() throws {
      let lab = try lab(CircuitBreaker(maxConnections: 1, maxPending: 1))
      let first = try lab.connect()
      #expect(try isJoined(first, lab.accept()))
      for _ in 0..<5 {
        let waiting = try lab.connect()
        #expect(try eventually { try lab.count(.pending) == 1 })
        waiting.reset()
        #expect(try eventually { try lab.count(.pending) == 0 })
      }
      first.reset()
      #expect(try eventually { try lab.isFree() })
      #expect(lab.isLeftAlone())
      try lab.finish()
    }

    @Test func aClientThatLeavesWhileItsEndpointIsDialled() throws {
      let lab = try lab(CircuitBreaker(maxConnections: 1, maxPending: 1))
      let silent = try SilentAddress()
      let workload = HTTPLab.workload("web", 0, port: silent.address.port)
      try lab.change { $0.workloads = [workload] }
      let client = try lab.connect()
      #expect(try eventually { try lab.count(.connections) == 1 && lab.outstanding() == 1 })
      let waiting = try lab.connect()
      #expect(try eventually { try lab.count(.pending) == 1 })
      client.reset()
      // Its place is the other's.
      #expect(try eventually { try lab.count(.pending) == 0 && lab.count(.connections) == 1 })
      waiting.reset()
      #expect(try eventually { try lab.isFree() && lab.outstanding() == 0 })
      silent.close()
      try lab.finish()
    }

    /// All at once, and the pod's end takes those that wait with it.
    @Test func aPodThatGoesLeavesNothing() throws {
      let lab = try lab(CircuitBreaker(maxConnections: 2, maxPending: 3))
      let clients = try (0..<5).map { _ in try lab.connect() }
      #expect(try eventually { try lab.count(.pending) == 3 && lab.count(.connections) == 2 })
      lab.node.post(.removePod(id: "shop/a", runsOn: false))
      for client in clients {
        #expect(client.socket.receiveError() == ECONNRESET)
        client.close()
      }
      #expect(try eventually { try lab.isFree() })
      try lab.finish()
    }

    @Test func whatStandsStillEnds() throws {
      let lab = try lab(CircuitBreaker(maxConnections: 2), Timeouts(idle: 6000))
      let (silent, busy) = (try lab.connect(), try lab.connect())
      let (one, two) = (try lab.accept(), try lab.accept())
      // Whichever is whose.
      try silent.write("s")
      try busy.write("b")
      let isFirst = try one.take(1) == [UInt8(ascii: "s")]
      _ = try two.take(1)
      let (silentEnd, busyEnd) = isFirst ? (one, two) : (two, one)
      var rounds = 0
      while silent.isSilent(for: 100), rounds < 150 {
        #expect(try isJoined(busy, busyEnd))
        rounds += 1
      }
      #expect(silent.socket.receiveError() == ECONNRESET)
      #expect(silentEnd.socket.receiveError() == ECONNRESET)
      #expect(try isJoined(busy, busyEnd))
      silent.close()
      busy.reset()
      #expect(try eventually { try lab.isFree() })
      try lab.finish()
    }
  }
}
