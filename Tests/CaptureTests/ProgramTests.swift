import CLibbpf
import Foundation
import MeshModel
import Testing

@testable import Capture

extension KernelTests {
  /// Programs run by themselves, and the rules of the kernel around them.
  @Suite struct Programs {
    /// Where the kernel's types can't be read, those that the repository brings serve, by relocation.
    @Test func withoutTheKernelsTypesTheProgramsAreBuiltAndWork() async throws {
      let folder = "/tmp/weft-test-\(getpid())-fallback"
      defer { _ = try? shell("rm -rf '\(folder)'") }
      let sources = URL(fileURLWithPath: try bpfObject.get()).deletingLastPathComponent().deletingLastPathComponent()
        .path
      let said = try shell("make -C '\(sources)' FALLBACK=1 OUT='\(folder)'")
      #expect(said.contains("vmlinux.h: fallback"))
      try await withNode {
        $0.objectPath = folder + "/weft.bpf.o"
      } _: { node in
        let listeners = try await node.enrol(node.a)
        let app = try node.process("a", in: node.a)
        try app.run("s = socket.create_connection(('fd09::3', 8080))")
        let accepted = try acceptNext(listeners[PodListener.outbound.rawValue])
        defer { close(accepted) }
        #expect(try originalDestination(accepted) == "[fd09::3]:8080")
        try app.run("s = socket.socket(type=socket.SOCK_DGRAM); s.sendto(b'q', ('10.9.0.3', 53))")
        #expect(try answerOne(listeners[PodListener.dns.rawValue], reply: "ok") == "q")
        #expect(try app.run("r = s.recvfrom(9)[1]") == #"["10.9.0.3", 53]"#)
      }
    }

    /// BPF_PROG_TEST_RUN, which sk_lookup alone of these types allows.
    @Test func skLookupJudgesPackets() async throws {
      try await withNode {
        $0.nodeAddresses = [IPAddress(v4: 0x0a09_0001)]
      } _: { node in
        let listeners = try await node.enrol(node.b, probePorts: [8081])
        let program = try node.engine.object.program("weft_sk_lookup")
        var cookie: UInt64 = 0
        var length = socklen_t(8)
        getsockopt(listeners[PodListener.inbound.rawValue], SOL_SOCKET, SO_COOKIE, &cookie, &length)

        func run(
          to local: String, _ port: UInt32, from remote: String, transport: Int = Int(IPPROTO_TCP)
        ) throws -> (verdict: UInt32, socket: UInt64) {
          let (to, from) = (try #require(IPAddress(local)), try #require(IPAddress(remote)))
          var packet = bpf_sk_lookup()
          packet.protocol = UInt32(transport)
          packet.local_port = port
          packet.family = UInt32(to.family == .v4 ? AF_INET : AF_INET6)
          if let v4 = to.v4, let other = from.v4 {
            packet.local_ip4 = v4.bigEndian
            packet.remote_ip4 = other.bigEndian
          } else {
            packet.local_ip6 = weft_address(to).word
            packet.remote_ip6 = weft_address(from).word
          }
          var verdict: UInt32 = 99
          var socket: UInt64 = 0
          #expect(weft_bpf_run_sk_lookup(program, &packet, &verdict, &socket) == 0)
          return (verdict, socket)
        }
        let drop = UInt32(SK_DROP.rawValue)
        let pass = UInt32(SK_PASS.rawValue)
        let cases: [(to: String, port: UInt32, from: String, verdict: UInt32, proxied: Bool)] = [
          ("10.9.0.3", 80, "10.9.0.2", pass, true), ("fd09::3", 80, "fd09::2", pass, true),
          ("10.9.0.3", 15001, "10.9.0.2", pass, true), ("10.9.0.3", 15008, "10.9.0.2", pass, false),
          // Probes: from the node, to their port.
          ("10.9.0.3", 8081, "10.9.0.1", pass, false), ("10.9.0.3", 8080, "10.9.0.1", pass, true),
          ("10.9.0.3", 8081, "10.9.0.2", pass, true),
          // Inside the pod.
          ("10.9.0.3", 80, "127.0.0.1", pass, false), ("10.9.0.3", 80, "10.9.0.3", pass, false),
          ("127.0.0.1", 80, "10.9.0.3", pass, false), ("fd09::3", 80, "::1", pass, false),
          // An address that is no pod's.
          ("10.9.0.77", 80, "10.9.0.2", drop, false), ("fe80::1", 80, "fe80::2", drop, false),
        ]
        for one in cases {
          let got = try run(to: one.to, one.port, from: one.from)
          #expect(got.verdict == one.verdict, "\(one)")
          #expect(got.socket == (one.proxied ? cookie : 0), "\(one)")
        }
        let datagram = try run(to: "10.9.0.3", 80, from: "10.9.0.2", transport: Int(IPPROTO_UDP))
        #expect(datagram.verdict == pass && datagram.socket == 0)
        let udp = Int(IPPROTO_UDP)
        #expect(try run(to: "10.9.0.3", 15053, from: "10.9.0.2", transport: udp).verdict == drop)
        #expect(try run(to: "127.0.53.1", 15053, from: "10.9.0.3", transport: udp).verdict == pass)
        #expect(try run(to: "::1", 15053, from: "fd09::3", transport: udp).verdict == pass)
      }
    }

    @Test func optionsOfOthersAreUntouched() async throws {
      try await withNode { node in
        let socket = node.keep(try await node.thread.run(in: node.a) { try PodSockets.open(.egressV4, count: 1) })[0]
        // tcp_info; a buffer longer than the page that the program gets to see
        #expect(try option(socket, CInt(IPPROTO_TCP), TCP_INFO, bytes: 104).count == 104)
        #expect(try option(socket, CInt(IPPROTO_TCP), TCP_INFO, bytes: 8_192).count < 8_192)
        #expect(try option(socket, 0, IP_TTL, bytes: 4) == [64, 0, 0, 0])
        for name in [WEFT_SO_ORIGINAL_DST, WEFT_SO_ORIGINAL_DST + 5, WEFT_SO_DNS_SERVER_BASE, 80] {
          #expect(throws: SocketFailure.self) { try option(socket, 0, name, bytes: 24) }
        }
        var ttl: CInt = 7
        #expect(setsockopt(socket, 0, IP_TTL, &ttl, 4) == 0)
        #expect(try option(socket, 0, IP_TTL, bytes: 4) == [7, 0, 0, 0])
        #expect(setsockopt(socket, 0, WEFT_SO_CLIENT_ADDRESS + 1, &ttl, 4) == -1 && errno == ENOPROTOOPT)
        // Too short, and no family: refused by the program.
        #expect(setsockopt(socket, 0, WEFT_SO_CLIENT_ADDRESS, &ttl, 4) == -1 && errno == EPERM)
        let nothing = [UInt8](repeating: 0, count: 24)
        #expect(setsockopt(socket, 0, WEFT_SO_CLIENT_ADDRESS, nothing, 24) == -1 && errno == EPERM)
        #expect(setClientAddress(socket, SocketAddress(IPAddress(v4: 0x0102_0304), 5)) == 0)
        // Outside the agent's cgroup there is no such option.
        let app = try node.process("a", in: node.a)
        let set = "socket.socket().setsockopt(0, \(WEFT_SO_CLIENT_ADDRESS), bytes([2] + [0] * 23))"
        #expect(try app.run(set) == "\"OSError \(ENOPROTOOPT)\"")
      }
    }

    @Test func aDeliverySocketIsUsedAgainWithoutItsOldClient() async throws {
      try await withNode { node in
        _ = try await node.enrol(node.b)
        let app = try node.process("b", in: node.b)
        try app.run("l = socket.create_server(('0.0.0.0', 8080))")
        let socket = node.keep(try await node.thread.run(in: node.b) { try PodSockets.open(.deliveryV4, count: 1) })[0]
        let server = SocketAddress(IPAddress(v4: 0x0a09_0003), 8080)
        var shown: [String] = []
        for client in [UInt32(0xc000_0201), nil, 0xc000_0202] {
          if let client { #expect(setClientAddress(socket, SocketAddress(IPAddress(v4: client), 9)) == 0) }
          #expect(connectAndWait(socket, to: server) == 0)
          shown.append(try app.run("c, f = l.accept(); c.close(); r = f[0]"))
          #expect(wait(socket))
          var unspecified = sockaddr()
          unspecified.sa_family = sa_family_t(AF_UNSPEC)
          #expect(connect(socket, &unspecified, socklen_t(MemoryLayout<sockaddr>.size)) == 0)
        }
        // A client that isn't known doesn't look like loopback.
        #expect(shown == [#""192.0.2.1""#, #""192.0.0.8""#, #""192.0.2.2""#])
      }
    }

    /// Ports in TIME_WAIT are taken again: a pod can be delivered to faster than they run out.
    @Test func deliveryTakesPortsInTimeWaitAgain() async throws {
      try await withNode { node in
        _ = try await node.enrol(node.b)
        try shell(
          "nsenter --net=\(node.path(node.b)) sh -c 'echo 40000 40019 > /proc/sys/net/ipv4/ip_local_port_range'")
        let app = try node.process("b", in: node.b)
        try app.run("l = socket.create_server(('::', 8080), family=socket.AF_INET6, dualstack_ipv6=True)")
        for (kind, ip) in [(PodSocketKind.deliveryV4, TestNode.b4), (.deliveryV6, TestNode.b6)] {
          let server = SocketAddress(try #require(IPAddress(ip)), 8080)
          for round in 0..<30 {
            // Only a port that has waited a second is taken again.
            if round == 20 { usleep(1_200_000) }
            let socket = try await node.thread.run(in: node.b) { try PodSockets.open(kind, count: 1) }[0]
            #expect(connectAndWait(socket, to: server) == 0, "\(ip) \(round)")
            shutdown(socket, Int32(SHUT_WR))
            try app.run("c, f = l.accept(); c.recv(1); c.close()")
            #expect(wait(socket))
            close(socket)
          }
        }
      }
    }
  }
}
