import CLibbpf
import Foundation
import MeshModel
import Testing

@testable import Capture

extension KernelTests {
  @Suite struct Outbound {
    static let destinations: [(target: String, family: String, original: String, peer: String, own: String)] = [
      (TestNode.b4, "AF_INET", "10.9.0.3:8080", #"["10.9.0.3", 8080]"#, TestNode.a4),
      (TestNode.b6, "AF_INET6", "[fd09::3]:8080", #"["fd09::3", 8080, 0, 0]"#, TestNode.a6),
      ("::ffff:10.9.0.3", "AF_INET6", "10.9.0.3:8080", #"["::ffff:10.9.0.3", 8080, 0, 0]"#, "::ffff:10.9.0.2"),
    ]

    @Test(arguments: destinations)
    func aConnectReachesTheProxyWithItsDestination(
      _ to: (target: String, family: String, original: String, peer: String, own: String)
    ) async throws {
      try await withNode { node in
        let listeners = try await node.enrol(node.a)
        let app = try node.process("a", in: node.a)
        let peer = try app.run(
          """
          s = socket.socket(socket.\(to.family)); s.connect(('\(to.target)', 8080)); r = s.getpeername()
          """)
        #expect(peer == to.peer)
        let accepted = try acceptNext(listeners[PodListener.outbound.rawValue])
        defer { close(accepted) }
        #expect(try originalDestination(accepted) == to.original)
        #expect(address(.peer, of: accepted)?.ip.isLoopback == true)
        #expect(try app.run("r = s.getsockname()[0]") == "\"\(to.own)\"")
        #expect(try app.run("r = s.getsockname()[1]") == "\(address(.peer, of: accepted)?.port ?? 0)")
        try app.run("s.send(b'hello')")
        #expect(wait(accepted))
        #expect(try node.fill("weft_flows") == 0, "the entry is gone once both ends are established")
        #expect(try node.engine.statistics(uid: "test/a")?.captured == 1)
      }
    }

    @Test func netfiltersOptionAnswersToo() async throws {
      try await withNode { node in
        let listeners = try await node.enrol(node.a)
        let app = try node.process("a", in: node.a)
        try app.run("s = socket.create_connection(('10.9.0.3', 81)); t = socket.create_connection(('fd09::3', 82))")
        let v4 = try acceptNext(listeners[PodListener.outbound.rawValue])
        let v6 = try acceptNext(listeners[PodListener.outbound.rawValue])
        defer {
          close(v4)
          close(v6)
        }
        #expect(try option(v4, 0, 80, bytes: 16).prefix(8) == [2, 0, 0, 81, 10, 9, 0, 3])
        #expect(try option(v6, 41, 80, bytes: 28).prefix(4) == [10, 0, 0, 82])
        #expect(throws: SocketFailure.self) { try option(v6, 0, 80, bytes: 16) }
      }
    }

    @Test func loopbackExcludedAndBypassedPass() async throws {
      try await withNode {
        $0.excluded = [AddressPrefix(IPAddress(v4: 0x0a09_0003))]
      } _: { node in
        let listeners = try await node.enrol(node.a)
        let server = try node.process("b", in: node.b)
        try server.run(
          "l = socket.create_server(('::', 8080), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)")
        let app = try node.process("a", in: node.a)
        let excluded = "r = socket.create_connection(('10.9.0.3', 8080)).getpeername()"
        #expect(try app.run(excluded) == #"["10.9.0.3", 8080]"#)
        #expect(
          try app.run(
            "l = socket.create_server(('127.0.0.1', 9)); r = socket.create_connection(('127.0.0.1', 9)).getpeername()")
            == #"["127.0.0.1", 9]"#)
        let own = try node.process("bypass", in: node.a)
        #expect(try own.run("r = socket.create_connection(('fd09::3', 8080)).getpeername()[0]") == #""fd09::3""#)
        #expect(isQuiet(listeners[PodListener.outbound.rawValue]))
        #expect(try server.run("r = l.accept()[1][0]") == #""::ffff:10.9.0.2""#)
        #expect(try node.engine.statistics(uid: "test/a")?.captured == 0)
      }
    }

    @Test func aHeldPodIsRefused() async throws {
      try await withNode { node in
        try node.engine.hold(uid: "test/a", namespace: node.a, addresses: TestNode.addressesOfA)
        let app = try node.process("a", in: node.a)
        #expect(try app.run("socket.create_connection(('10.9.0.3', 80))") == #""PermissionError 1""#)
        #expect(try app.run("socket.create_connection(('fd09::3', 80))") == #""PermissionError 1""#)
        let udp = "socket.socket(type=socket.SOCK_DGRAM).sendto(b'q', ('10.9.0.3', 53))"
        #expect(try app.run(udp) == #""PermissionError 1""#)
        let peer = try node.process("b", in: node.b)
        try app.run("l = socket.create_server(('0.0.0.0', 8080))")
        #expect(try peer.run("socket.create_connection(('10.9.0.2', 8080))") == #""ConnectionRefusedError 111""#)
        #expect(try node.engine.statistics(uid: "test/a")?.refused == 3)
        #expect(try node.engine.knownPods().map(\.held) == [true])

        let listeners = try await node.enrol(node.a)
        try app.run("s = socket.create_connection(('10.9.0.3', 80))")
        close(try acceptNext(listeners[PodListener.outbound.rawValue]))
        #expect(try node.engine.knownPods().map(\.held) == [false])
      }
    }

    @Test func aHoldThatFailsHalfwayRefusesAllTheSame() async throws {
      try await withNode { node in
        // Something stands where its attachment is to be pinned.
        let pin = PinLayout(node.configuration.bpffsDirectory).podLink(node.a.cookie)
        #expect(mkdir(pin, 0o700) == 0)
        #expect(throws: CaptureError.self) {
          try node.engine.hold(uid: "test/a", namespace: node.a, addresses: TestNode.addressesOfA)
        }
        let app = try node.process("a", in: node.a)
        #expect(try app.run("socket.create_connection(('10.9.0.3', 80))") == #""PermissionError 1""#)
        #expect(try node.engine.knownPods().map(\.held) == [true])
        // One that was never held isn't captured by halves.
        await #expect(throws: CaptureError.self) {
          #expect(mkdir(PinLayout(node.configuration.bpffsDirectory).podLink(node.b.cookie), 0o700) == 0)
          _ = try await node.enrol(node.b)
        }
        #expect(try node.engine.knownPods().map(\.uid) == ["test/a"])
        rmdir(pin)
        try node.engine.hold(uid: "test/a", namespace: node.a, addresses: TestNode.addressesOfA)
        try node.engine.release(uid: "test/a")
        #expect(try node.engine.knownPods().isEmpty)
        rmdir(PinLayout(node.configuration.bpffsDirectory).podLink(node.b.cookie))
      }
    }

    /// A Multipath TCP socket connects by a TCP socket of the kernel's own, for which the programs run; a socket from before
    /// the enrolment, or while the pod is held, is none the better.
    @Test func aMultipathSocketIsCapturedToo() async throws {
      try await withNode { node in
        let app = try node.process("a", in: node.a)
        let made = try app.run(
          """
          m = [socket.socket(f, socket.SOCK_STREAM, 262) for f in (socket.AF_INET, socket.AF_INET6, socket.AF_INET6)]
          r = [s.proto for s in m]
          """)
        // A kernel without it has nothing to capture.
        guard made != #""OSError 93""# else { return }
        #expect(made == "[262, 262, 262]")
        try node.engine.hold(uid: "test/a", namespace: node.a, addresses: TestNode.addressesOfA)
        #expect(
          try app.run("socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).connect(('10.9.0.3', 80))")
            == #""PermissionError 1""#)
        let listeners = try await node.enrol(node.a)
        for (index, to) in Self.destinations.enumerated() {
          try app.run("m[\(index)].connect(('\(to.target)', 8080)); m[\(index)].send(b'hello')")
          let accepted = try acceptNext(listeners[PodListener.outbound.rawValue])
          #expect(try originalDestination(accepted) == to.original)
          #expect(wait(accepted))
          close(accepted)
        }
        #expect(try node.engine.statistics(uid: "test/a")?.captured == 3)
      }
    }

    @Test func onlyAPodThatFailsOpenPassesWithoutAHeartbeat() async throws {
      try await withNode { node in
        _ = try await node.enrol(node.a, failMode: .open)
        let server = try node.process("b", in: node.b)
        try server.run("l = socket.create_server(('0.0.0.0', 8080))")
        let app = try node.process("a", in: node.a)
        try node.engine.maps.heartbeat.set(0, weft_heartbeat(at: 0, layout: UInt32(WEFT_LAYOUT_VERSION), pad: 0))
        try app.run("s = socket.create_connection(('10.9.0.3', 8080))")
        #expect(try server.run("r = l.accept()[1][0]") == #""10.9.0.2""#)
        #expect(try node.engine.statistics(uid: "test/a")?.passedOpen == 1)
        // The heart beats again: captured.
        try node.engine.heartbeat()
        try app.run("s = socket.create_connection(('10.9.0.3', 8080))")
        #expect(try node.engine.statistics(uid: "test/a")?.captured == 1)
      }
      try await withNode { node in
        let listeners = try await node.enrol(node.a)
        try node.engine.maps.heartbeat.set(0, weft_heartbeat(at: 0, layout: UInt32(WEFT_LAYOUT_VERSION), pad: 0))
        let app = try node.process("a", in: node.a)
        try app.run("s = socket.create_connection(('10.9.0.3', 8080))")
        close(try acceptNext(listeners[PodListener.outbound.rawValue]))
      }
    }

    @Test func aSocketBoundToADeviceIsCapturedAndOneUsedAgainForgets() async throws {
      try await withNode { node in
        let listeners = try await node.enrol(node.a)
        let app = try node.process("a", in: node.a)
        try app.run(
          """
          s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, 25, b'eth0'); s.connect(('10.9.0.3', 8080))
          """)
        let accepted = try acceptNext(listeners[PodListener.outbound.rawValue])
        #expect(try originalDestination(accepted) == "10.9.0.3:8080")
        close(accepted)
        // connect(AF_UNSPEC), then loopback on the same socket
        let again = """
          import ctypes
          l = socket.create_server(('127.0.0.1', 7)); s = socket.create_connection(('10.9.0.3', 8080))
          ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16); s.connect(('127.0.0.1', 7)); r = s.getpeername()
          """
        #expect(try app.run(again) == #"["127.0.0.1", 7]"#)
      }
    }

    /// Loopback takes packets from the pod's own address.
    @Test func aSocketBoundToThePodsAddressIsCapturedToo() async throws {
      try await withNode { node in
        let listeners = try await node.enrol(node.a)
        let app = try node.process("a", in: node.a)
        for (own, target) in [(TestNode.a4, TestNode.b4), (TestNode.a6, TestNode.b6)] {
          try app.run("s = socket.create_connection(('\(target)', 80), source_address=('\(own)', 0))")
          let accepted = try acceptNext(listeners[PodListener.outbound.rawValue])
          #expect(try originalDestination(accepted).flatMap { SocketAddress($0) }?.ip == IPAddress(target))
          #expect(address(.peer, of: accepted)?.ip == IPAddress(own))
          close(accepted)
          #expect(try app.run("r = s.getsockname()[0]") == "\"\(own)\"")
          let family = own == TestNode.a4 ? "AF_INET" : "AF_INET6"
          try app.run(
            """
            s = socket.socket(socket.\(family), socket.SOCK_DGRAM); s.bind(('\(own)', 0)); s.sendto(b'q', ('\(target)', 53))
            """)
          #expect(try answerOne(listeners[PodListener.dns.rawValue], reply: "ok") == "q")
          #expect(try app.run("r = s.recvfrom(9)[1][:2]") == "[\"\(target)\", 53]")
        }
      }
    }

    @Test func aConnectThatFailsLeavesNoEntry() async throws {
      try await withNode { node in
        let listeners = try await node.enrol(node.a)
        close(listeners[PodListener.outbound.rawValue])
        let app = try node.process("a", in: node.a)
        #expect(try app.run("socket.create_connection(('10.9.0.3', 80))") == #""ConnectionRefusedError 111""#)
        #expect(try app.run("socket.create_connection(('fd09::3', 80))") == #""ConnectionRefusedError 111""#)
        #expect(try node.fill("weft_flows") == 0)
        _ = dup2(listeners[PodListener.inbound.rawValue], listeners[PodListener.outbound.rawValue])
      }
    }
  }
}
