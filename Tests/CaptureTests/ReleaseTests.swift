import CLibbpf
import CLinux
import Foundation
import MeshModel
import Testing

@testable import Capture

extension KernelTests {
  @Suite struct Release {
    @Test func ahundredEnrolmentsLeaveNothing() async throws {
      try await withNode { node in
        func fills() throws -> [String: Int] {
          Dictionary(uniqueKeysWithValues: try node.engine.inspect().maps.map { ($0.name, $0.entries ?? 0) })
        }
        func descriptors() -> Int { Files.list("/proc/self/fd").count }
        let outbound = try await node.listeners(in: node.a)
        let before = (try fills(), descriptors())
        let app = try node.process("a", in: node.a)
        let running = descriptors()
        for _ in 0..<100 {
          try node.engine.enrol(
            PodEnrolment(
              uid: "test/a", namespace: node.a, addresses: TestNode.addressesOfA,
              inboundListener: outbound[PodListener.inbound.rawValue], probePorts: [1, 2, 3]))
          #expect(try app.run("s = socket.create_connection(('10.9.0.3', 80)); s.close(); r = 1") == "1")
          close(try acceptNext(outbound[PodListener.outbound.rawValue]))
          try node.engine.release(uid: "test/a")
        }
        #expect(try fills() == before.0)
        #expect(descriptors() == running)
        #expect(Files.list(PinLayout(node.configuration.bpffsDirectory).podLinks).isEmpty)
        #expect(try node.engine.inspect().links.count == CaptureProgram.all.count(where: \.isSingle))
        // Not captured any more.
        #expect(try app.run("socket.create_connection(('10.9.0.3', 80))") == #""ConnectionRefusedError 111""#)
      }
    }

    @Test func enrollingAgainUpdatesAndANewNamespaceReplaces() async throws {
      try await withNode { node in
        let listeners = try await node.enrol(node.a, probePorts: [1, 2])
        let inbound = listeners[PodListener.inbound.rawValue]
        let only = Array(TestNode.addressesOfA.prefix(1))
        let changed = PodEnrolment(
          uid: "test/a", namespace: node.a, addresses: only, inboundListener: inbound, failMode: .open, probePorts: [2])
        for _ in 0..<2 { try node.engine.enrol(changed) }
        #expect(try node.fill("weft_addresses") == 1)
        #expect(try node.fill("weft_listeners") == 1)
        #expect(try node.fill("weft_probe_ports") == 1)
        #expect(node.engine.maps.probePorts.keys(zero: weft_probe_port()).map(\.port) == [2])
        #expect(try node.engine.knownPods().map(\.failMode) == [.open])

        // The pod was made again: same name and address, another namespace. The old one's end takes nothing from it.
        let again = try await node.listeners(in: node.b)
        try node.engine.enrol(
          PodEnrolment(
            uid: "test/new", namespace: node.b, addresses: only, inboundListener: again[PodListener.inbound.rawValue]))
        try node.engine.release(uid: "test/a")
        #expect(try node.fill("weft_addresses") == 1)
        #expect(try node.fill("weft_listeners") == 1)
        #expect(try node.engine.knownPods().map(\.uid) == ["test/new"])
        try node.engine.enrol(
          PodEnrolment(uid: "test/new", namespace: node.a, addresses: only, inboundListener: inbound))
        #expect(try node.engine.knownPods().map(\.cookie) == [node.a.cookie])
        #expect(try node.fill("weft_netns") == 1)
      }
    }

    @Test func aNamespaceThatIsGoneCanBeReleased() async throws {
      try await withNode { node in
        var gone: NetworkNamespace? = try NetworkNamespace()
        let inode = try #require(gone?.inode)
        try node.engine.hold(uid: "test/gone", namespace: try #require(gone), addresses: TestNode.addressesOfB)
        #expect(inode != 0)
        gone = nil
        usleep(200_000)
        try node.reload()
        #expect(try node.engine.knownPods().map(\.uid) == ["test/gone"])
        try node.engine.release(uid: "test/gone")
        #expect(try node.fill("weft_pods") == 0)
      }
    }

    @Test func flowsThatLeaveThePodAreCounted() async throws {
      try await withNode { node in
        let listeners = try await node.enrol(node.b)
        let client = try node.process("a", in: node.a)
        try client.run("s = socket.create_connection(('10.9.0.3', 8080)); s.send(b'x' * 1000)")
        let accepted = try acceptNext(listeners[PodListener.inbound.rawValue])
        #expect(wait(accepted))
        var buffer = [UInt8](repeating: 0, count: 2_000)
        #expect(read(accepted, &buffer, buffer.count) == 1_000)
        #expect(write(accepted, buffer, 500) == 500)
        try client.run("s.recv(999); s.close()")
        #expect(wait(accepted))
        close(accepted)
        usleep(100_000)
        let statistics = try #require(try node.engine.statistics(uid: "test/b"))
        #expect(statistics.flowsClosed == 1)
        // The FIN takes a sequence number and may be counted.
        #expect((1_000...1_001).contains(statistics.bytesReceived))
        #expect((500...501).contains(statistics.bytesAcknowledged))
        #expect(statistics.meanRoundTripTime > 0)
        #expect(try node.engine.statistics(uid: "test/other") == nil)
      }
    }

    /// Each connection names its destination's port: no two are mixed up, whatever runs at once.
    @Test func manyConnectionsAtOnceKeepTheirDestinations() async throws {
      try await withNode { node in
        let listener = try await node.enrol(node.a)[PodListener.outbound.rawValue]
        let app = try node.process("a", in: node.a)
        try app.send(
          """
          def work(host, first):
            for port in range(first, first + 1000):
              s = socket.create_connection((host, port)); s.send(struct.pack('!H', port)); s.close()
          threads = [threading.Thread(target=work, args=(('10.9.0.3', 'fd09::3')[i % 2], 20000 + i * 1000)) for i in range(6)]
          [t.start() for t in threads]; [t.join() for t in threads]
          """)
        for _ in 0..<6_000 {
          let socket = try acceptNext(listener)
          let port = try originalDestination(socket).flatMap { SocketAddress($0) }?.port ?? 0
          var sent: [UInt8] = [0, 0]
          let readable = wait(socket)
          let got = read(socket, &sent, 2)
          close(socket)
          try #require(readable && got == 2 && UInt16(sent[0]) << 8 | UInt16(sent[1]) == port)
        }
        #expect(try app.answer() == "null")
        #expect(try node.fill("weft_flows") == 0)
        #expect(try node.engine.statistics(uid: "test/a")?.captured == 6_000)
      }
    }
  }
}
