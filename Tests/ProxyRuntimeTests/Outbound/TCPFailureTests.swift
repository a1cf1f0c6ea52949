import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Endpoints that don't take a connection of bytes.
  @Suite struct TCPFailureTests {
    private func outliers(_ errors: UInt32, base: UInt32 = 60_000, percent: UInt32 = 100) -> TrafficPolicy {
      .web {
        $0.loadBalancer = LoadBalancer(algorithm: .roundRobin)
        $0.timeouts = Timeouts(connect: 300)
        $0.locality = Locality(isPreferred: false, panicThreshold: 0)
        $0.outlierDetection = OutlierDetection(
          consecutiveErrors: errors, interval: 100, baseEjectionTime: base, maximumEjectionTime: base,
          maximumEjectionPercent: percent)
      }
    }

    @Test func oneThatRefusesIsPassedOver() throws {
      let lab = try HTTPLab(backends: 1, dead: 2, speaking: "tcp", policies: [outliers(0)])
      for _ in 0..<9 {
        let client = try lab.connect()
        let backend = try lab.accept()
        try client.write("x")
        #expect(try backend.take(1) == [UInt8(ascii: "x")])
        client.reset()
      }
      #expect(try lab.node.on { $0.statistics.failed } == 0)
      #expect(try eventually { try lab.isFree() })
      try lab.finish()
    }

    @Test func threeAreTried() throws {
      let lab = try HTTPLab(backends: 0, dead: 6, speaking: "tcp", policies: [outliers(1)])
      let client = try lab.connect()
      #expect(client.socket.receiveError() == ECONNRESET)
      #expect(lab.node.logged("failed: UF: Connection refused"))
      client.close()
      #expect(try lab.ejected() == 3)
      #expect(try eventually { try lab.isFree() })
      try lab.finish()
    }

    @Test func noneIsThere() throws {
      let lab = try HTTPLab(speaking: "tcp")
      try lab.change { $0.removedWorkloads = ["shop/web-0"] }
      let client = try lab.connect()
      #expect(client.socket.receiveError() == ECONNRESET)
      #expect(lab.node.logged("failed: UH"))
      client.close()
      #expect(try eventually { try lab.isFree() })
      try lab.finish()
    }

    /// Ejected for its refusals, tried again after a while, and ejected again.
    @Test func refusalsEject() throws {
      let lab = try HTTPLab(
        backends: 1, dead: 1, speaking: "tcp", policies: [outliers(2, base: 400, percent: 50)])
      func join() throws {
        let client = try lab.connect()
        _ = try lab.accept()
        client.reset()
      }
      func comes(_ ejected: Int) throws -> Bool {
        let end = EventLoop.clock() + .seconds(20)
        while EventLoop.clock() < end {
          if try lab.ejected() == ejected { return true }
          try join()
        }
        return false
      }
      for _ in 0..<2 {
        #expect(try comes(1), "it isn't ejected")
        #expect(try comes(0), "it doesn't return")
      }
      #expect(try eventually { try lab.isFree() })
      try lab.finish()
    }

    @Test(arguments: [true, false]) func oneThatDoesNotAnswer(isAlone: Bool) throws {
      let lab = try HTTPLab(backends: isAlone ? 1 : 2, speaking: "tcp", policies: [outliers(1, percent: 50)])
      let silent = try SilentAddress()
      let workload = HTTPLab.workload("web", 0, port: silent.address.port)
      try lab.change { $0.workloads = [workload] }
      if isAlone {
        let client = try lab.connect()
        #expect(client.socket.receiveError() == ECONNRESET)
        #expect(lab.node.logged("failed: UF: timed out"))
        client.close()
      } else {
        for _ in 0..<4 {
          let client = try lab.connect()
          let backend = try lab.accept(1)
          try client.write("x")
          #expect(try backend.take(1) == [UInt8(ascii: "x")])
          client.reset()
        }
        #expect(try lab.ejected() == 1)
      }
      #expect(try eventually { try lab.isFree() })
      silent.close()
      try lab.finish()
    }
  }
}
