import CLibbpf
import Foundation
import MeshModel
import Testing

@testable import Capture

extension KernelTests {
  @Suite struct DNS {
    static let servers: [(family: String, target: String, slot: Int32, server: String, source: String)] = [
      ("AF_INET", "10.96.0.10", 0, "10.96.0.10:53", #"["10.96.0.10", 53]"#),
      ("AF_INET6", "fd00::53", WEFT_DNS_SLOT6, "[fd00::53]:53", #"["fd00::53", 53, 0, 0]"#),
      ("AF_INET6", "::ffff:10.96.0.10", 0, "10.96.0.10:53", #"["::ffff:10.96.0.10", 53, 0, 0]"#),
    ]

    @Test(arguments: servers)
    func anUnconnectedQueryIsAnsweredByTheServerAsked(
      _ to: (family: String, target: String, slot: Int32, server: String, source: String)
    ) async throws {
      try await withNode { node in
        let dns = try await node.enrol(node.a)[PodListener.dns.rawValue]
        let app = try node.process("a", in: node.a)
        try app.run(
          """
          s = socket.socket(socket.\(to.family), socket.SOCK_DGRAM); s.sendto(b'query', ('\(to.target)', 53))
          """)
        #expect(try answerOne(dns, reply: "answer") == "query")
        #expect(try app.run("d, f = s.recvfrom(99); r = [d.decode(), f]") == "[\"answer\", \(to.source)]")
        #expect(try weftAddress(dns, WEFT_SO_DNS_SERVER_BASE + to.slot)?.description == to.server)
        #expect(try node.engine.statistics(uid: "test/a")?.dnsQueries == 1)
      }
    }

    @Test(arguments: servers)
    func aConnectedSocketSeesTheServerItConnectedTo(
      _ to: (family: String, target: String, slot: Int32, server: String, source: String)
    ) async throws {
      try await withNode { node in
        let dns = try await node.enrol(node.a)[PodListener.dns.rawValue]
        let app = try node.process("a", in: node.a)
        let peer = try app.run(
          """
          s = socket.socket(socket.\(to.family), socket.SOCK_DGRAM); s.connect(('\(to.target)', 53)); s.send(b'query')
          r = s.getpeername()
          """)
        #expect(peer == to.source)
        #expect(try answerOne(dns, reply: "answer") == "query")
        #expect(try app.run("d, f = s.recvfrom(99); r = [d.decode(), f]") == "[\"answer\", \(to.source)]")
        let own = to.slot == WEFT_DNS_SLOT6 ? TestNode.a6 : (to.family == "AF_INET" ? "" : "::ffff:") + TestNode.a4
        #expect(try app.run("r = s.getsockname()[0]") == "\"\(own)\"")
      }
    }

    @Test func eachServerHasItsSlotAndAFifthTakesTheLast() async throws {
      try await withNode { node in
        let dns = try await node.enrol(node.a)[PodListener.dns.rawValue]
        let app = try node.process("a", in: node.a)
        try app.run("s = socket.socket(type=socket.SOCK_DGRAM)")
        for last in [1, 2, 1, 3, 4, 5] {
          try app.run("s.sendto(b'\(last)', ('10.96.0.\(last)', 53))")
          #expect(try answerOne(dns, reply: "ok") == "\(last)")
          #expect(try app.run("r = s.recvfrom(99)[1][0]") == "\"10.96.0.\(last)\"")
        }
        let slots = try (0..<4).map { try weftAddress(dns, WEFT_SO_DNS_SERVER_BASE + $0)?.ip.description }
        #expect(slots == ["10.96.0.1", "10.96.0.2", "10.96.0.3", "10.96.0.5"])
        // No IPv6 server was asked: no answer.
        #expect(throws: SocketFailure(code: ENOPROTOOPT)) {
          try weftAddress(dns, WEFT_SO_DNS_SERVER_BASE + WEFT_DNS_SLOT6)
        }
      }
    }

    @Test func otherPortsAndTheMeshsOwnQueriesPass() async throws {
      try await withNode { node in
        let listeners = try await node.enrol(node.a)
        let server = try node.process("b", in: node.b)
        try server.run(
          """
          s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('10.9.0.3', 53)); s.settimeout(5)
          t = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); t.bind(('10.9.0.3', 5353)); t.settimeout(5)
          """)
        let own = try node.process("bypass", in: node.a)
        try own.run("s = socket.socket(type=socket.SOCK_DGRAM); s.sendto(b'own', ('10.9.0.3', 53))")
        #expect(try server.run("d, f = s.recvfrom(9); s.sendto(d, f); r = d.decode()") == #""own""#)
        #expect(try own.run("r = s.recvfrom(9)[1]") == #"["10.9.0.3", 53]"#)
        let app = try node.process("a", in: node.a)
        try app.run("s = socket.socket(type=socket.SOCK_DGRAM); s.sendto(b'app', ('10.9.0.3', 5353))")
        #expect(try server.run("r = t.recvfrom(9)[1][0]") == "\"\(TestNode.a4)\"")
        #expect(isQuiet(listeners[PodListener.dns.rawValue]))
      }
    }
  }
}
