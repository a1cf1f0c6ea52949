import CLibbpf
import Foundation
import MeshModel
import Testing

@testable import Capture

extension KernelTests {
  @Suite struct Inbound {
    static let clients: [(own: String, server: String, shown: String)] = [
      (TestNode.a4, TestNode.b4, "::ffff:10.9.0.2"), (TestNode.a6, TestNode.b6, "fd09::2"),
    ]

    @Test(arguments: clients)
    func theApplicationsAcceptShowsTheTrueClient(_ to: (own: String, server: String, shown: String)) async throws {
      try await withNode { node in
        let listeners = try await node.enrol(node.b)
        let app = try node.process("b", in: node.b)
        try app.run("l = socket.create_server(('::', 8080), family=socket.AF_INET6, dualstack_ipv6=True)")
        let client = try node.process("a", in: node.a)
        try client.run("s = socket.create_connection(('\(to.server)', 8080))")

        let accepted = try acceptNext(listeners[PodListener.inbound.rawValue])
        defer { close(accepted) }
        let server = try #require(IPAddress(to.server))
        let peer = try #require(address(.peer, of: accepted))
        #expect(address(.own, of: accepted) == SocketAddress(server, 8080))
        #expect(peer.ip == IPAddress(to.own))
        #expect(throws: SocketFailure(code: ENOPROTOOPT)) { try originalDestination(accepted) }

        let kind: PodSocketKind = server.family == .v4 ? .deliveryV4 : .deliveryV6
        let delivery = node.keep(try await node.thread.run(in: node.b) { try PodSockets.open(kind, count: 1) })[0]
        #expect(setClientAddress(delivery, peer) == 0)
        #expect(connectAndWait(delivery, to: SocketAddress(server, 8080)) == 0)
        #expect(try app.run("c, f = l.accept(); r = f[:2]") == "[\"\(to.shown)\", \(peer.port)]")
        #expect(try app.run("r = c.getpeername()[0]") == "\"\(to.shown)\"")
        #expect(try app.run("r = c.getsockname()[1]") == "8080")
        #expect(try node.fill("weft_clients") == 0)
      }
    }

    @Test func anIPv4ListenerShowsTheTrueClientToo() async throws {
      try await withNode { node in
        _ = try await node.enrol(node.b)
        let app = try node.process("b", in: node.b)
        try app.run("l = socket.create_server(('0.0.0.0', 8080))")
        let delivery = node.keep(try await node.thread.run(in: node.b) { try PodSockets.open(.deliveryV4, count: 1) })[
          0]
        let client = SocketAddress(IPAddress(v4: 0xc633_6407), 4_711)
        #expect(setClientAddress(delivery, client) == 0)
        #expect(connectAndWait(delivery, to: SocketAddress(IPAddress(v4: 0x0a09_0003), 8080)) == 0)
        #expect(try app.run("r = l.accept()[1]") == #"["198.51.100.7", 4711]"#)
        // An IPv6 client can't be shown to an IPv4 socket.
        let mixed = node.keep(try await node.thread.run(in: node.b) { try PodSockets.open(.deliveryV4, count: 1) })[0]
        #expect(setClientAddress(mixed, SocketAddress(try #require(IPAddress("2001:db8::1")), 9)) == 0)
        #expect(connectAndWait(mixed, to: SocketAddress(IPAddress(v4: 0x0a09_0003), 8080)) == 0)
        #expect(try app.run("r = l.accept()[1]") == #"["192.0.0.8", 9]"#)
        // Refused: no entry stays.
        let other = node.keep(try await node.thread.run(in: node.b) { try PodSockets.open(.deliveryV4, count: 1) })[0]
        #expect(setClientAddress(other, client) == 0)
        #expect(connectAndWait(other, to: SocketAddress(IPAddress(v4: 0x0a09_0003), 8081)) == ECONNREFUSED)
        #expect(try node.fill("weft_clients") == 0)
      }
    }

    @Test func tunnelPortAndProbesAreLeftAlone() async throws {
      try await withNode {
        $0.nodeAddresses = TestNode.addressesOfA
      } _: { node in
        let listeners = try await node.enrol(node.b, probePorts: [8081])
        let app = try node.process("b", in: node.b)
        try app.run(
          """
          l = socket.create_server(('::', 8081), family=socket.AF_INET6, dualstack_ipv6=True)
          m = socket.create_server(('0.0.0.0', 8082))
          """)
        let client = try node.process("a", in: node.a)
        try client.run("s = socket.create_connection(('10.9.0.3', 15008))")
        close(try acceptNext(listeners[PodListener.hbone.rawValue]))
        #expect(isQuiet(listeners[PodListener.inbound.rawValue]))
        try client.run(
          "s = socket.create_connection(('10.9.0.3', 8081)); t = socket.create_connection(('fd09::3', 8081))")
        #expect(try app.run("r = [l.accept()[1][0], l.accept()[1][0]]") == #"["::ffff:10.9.0.2", "fd09::2"]"#)
        #expect(isQuiet(listeners[PodListener.inbound.rawValue]))
        // Another port, from the node too: the proxy's.
        try client.run("s = socket.create_connection(('10.9.0.3', 8082))")
        close(try acceptNext(listeners[PodListener.inbound.rawValue]))
        // A port on which nothing listens: the proxy's too.
        try client.run("s = socket.create_connection(('10.9.0.3', 4))")
        close(try acceptNext(listeners[PodListener.inbound.rawValue]))
      }
    }

    @Test func withoutAListenerNothingGetsInUnlessThePodFailsOpen() async throws {
      for mode in [FailMode.closed, .open] {
        try await withNode { node in
          let listeners = try await node.enrol(node.b, failMode: mode)
          let app = try node.process("b", in: node.b)
          try app.run("l = socket.create_server(('0.0.0.0', 8080))")
          let client = try node.process("a", in: node.a)
          let connect = "r = socket.create_connection(('10.9.0.3', 8080)) and 'connected'"
          // The proxy and the agent are gone: the kernel drops the map's entry with the socket.
          let null = open("/dev/null", O_RDWR)
          dup2(null, listeners[PodListener.inbound.rawValue])
          close(null)
          #expect(try node.fill("weft_listeners") == 0)
          #expect(try client.run(connect) == #""ConnectionRefusedError 111""#)
          try node.engine.maps.heartbeat.set(0, weft_heartbeat(at: 0, layout: UInt32(WEFT_LAYOUT_VERSION), pad: 0))
          #expect(try client.run(connect) == (mode == .open ? #""connected""# : #""ConnectionRefusedError 111""#))
        }
      }
    }
  }
}
