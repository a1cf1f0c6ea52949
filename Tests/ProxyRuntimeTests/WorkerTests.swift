import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// What a worker refuses, what it lets go in time, and how much it carries.
  @Suite struct WorkerTests {
    private func pod(_ kind: ListenerKind, _ config: MeshConfig? = nil) throws -> (
      node: TestNode, address: SocketAddress
    ) {
      let node = try TestNode()
      try node.apply(snapshotUpdate([.at("shop/a", "127.77.3.1")], config))
      let listener = try TestSocket.listening("127.77.3.1", isBlocking: false)
      node.addPod("shop/a", listeners: [(kind, listener.fd)])
      return (node, listener.address)
    }

    private func refused(_ node: TestNode, _ address: SocketAddress, _ bytes: [UInt8] = []) throws {
      let client = try TestSocket.connected(to: address)
      // The reset may be there before the bytes: then it's the write that is told.
      let wasTold = (try? client.write(bytes)) == nil
      #expect(wasTold || client.receiveError() == ECONNRESET)
      client.close()
    }

    @Test(arguments: [
      [], Array("GET / HTTP/1.1\r\n\r\n".utf8), [0x16, 3, 1, 2, 0, 1], Array(repeating: 0xff, count: 99),
    ])
    func plaintextUnderStrict(bytes: [UInt8]) throws {
      let (node, address) = try pod(.inbound, MeshConfig(mutualTLS: .strict))
      defer { node.stop() }
      try refused(node, address, bytes)
      #expect(node.logged("to port \(address.port) refused: mutual TLS is STRICT"))
      #expect(try node.on { $0.statistics.refused } == 1)
    }

    @Test func plaintextToAnAddressThatIsNotThePods() throws {
      let (node, address) = try pod(.inbound)
      defer { node.stop() }
      try node.apply(snapshotUpdate([.at("shop/a", "127.77.3.2")]))
      try refused(node, address)
      #expect(node.logged("the proxy's own port"))
    }

    /// Without capture no socket option tells where a connection was going.
    @Test func aConnectionThatWasNotCaptured() throws {
      let (node, address) = try pod(.outbound)
      defer { node.stop() }
      for bytes in [[], Array("GET / HTTP/1.1\r\n\r\n".utf8), [0x16, 3, 1]] { try refused(node, address, bytes) }
      #expect(node.logged("that was not captured is refused"))
      #expect(try node.on { $0.statistics.refused } == 3)
      #expect(try node.sessionCount == 0)
    }

    @Test func aTunnelToAPodWithoutACertificate() throws {
      let (node, address) = try pod(.hbone)
      defer { node.stop() }
      try refused(node, address)
      #expect(node.logged("this pod has no certificate yet"))
    }

    @Test func idleSessionsEnd() throws {
      let node = try TestNode()
      defer { node.stop() }
      node.addPod("shop/a")
      let server = try TestSocket.listening()
      defer { server.close() }
      let client = try TestSocket.connected(to: try node.relay(to: server.address))
      let application = try server.accept()
      try client.write([1])
      #expect(try application.read(1) == [1])
      try node.on { $0.timerFired(now: $0.loop.now + Worker.idleTimeout - .seconds(1)) }
      try client.write([2])
      #expect(try application.read(1) == [2])
      try node.on { $0.timerFired(now: $0.loop.now + Worker.idleTimeout + .seconds(10)) }
      #expect(client.receiveError() == ECONNRESET)
      #expect(application.receiveError() == ECONNRESET)
      #expect(try node.sessionCount == 0)
      client.close()
      application.close()
    }

    @Test func idleTunnelsAreClosed() throws {
      let pair = try TunnelPair()
      defer { pair.stop() }
      let (client, application) = try pair.joined()
      func sweep() throws {
        try pair.client.on { $0.tunnels.sweep(now: $0.loop.now + TunnelPool.idleTimeout + .seconds(1)) }
      }
      // One with a stream is not idle, however silent.
      try sweep()
      #expect(try pair.tunnels == 1)
      client.close()
      application.close()
      #expect(try eventually { try pair.isEmpty })
      try sweep()
      #expect(try pair.tunnels == 0)
      // The next stream makes another.
      let again = try pair.joined()
      try again.client.write([1])
      #expect(try again.server.read(1) == [1])
      again.client.close()
      again.server.close()
    }

    @Test func twoThousandConnectionsAtOnce() throws {
      var limit = rlimit()
      getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      limit.rlim_cur = limit.rlim_max
      setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      let count = limit.rlim_cur >= 10_000 ? 2000 : Int(limit.rlim_cur) / 6
      let node = try TestNode()
      defer { node.stop() }
      node.addPod("shop/a")
      let server = try TestSocket.listening(backlog: 4096)
      defer { server.close() }
      let proxy = try node.relay(to: server.address)
      let serving = inBackground { try (0..<count).map { _ in try server.accept() } }
      let clients = try (0..<count).map { _ in try TestSocket.connected(to: proxy) }
      let applications = try serving.get()
      #expect(try eventually { try node.sessionCount == count })
      let echoing = inBackground {
        for application in applications { try application.write(application.read(4)) }
      }
      for (index, client) in clients.enumerated() {
        try client.write((0..<4).map { UInt8(truncatingIfNeeded: index >> (8 * $0)) })
      }
      for (index, client) in clients.enumerated() {
        #expect(try client.read(4) == (0..<4).map { UInt8(truncatingIfNeeded: index >> (8 * $0)) })
      }
      try echoing.get()
      for socket in clients + applications { socket.close() }
      #expect(try eventually { try node.sessionCount == 0 })
    }
  }
}
