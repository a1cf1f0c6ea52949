import CLibbpf
import CLinux
import Foundation
import MeshModel
import Testing

@testable import Capture

extension KernelTests {
  @Suite struct Lifecycle {
    @Test func aSecondLoadSwapsProgramsWithoutAGap() async throws {
      try await withNode { node in
        let listeners = try await node.enrol(node.a, probePorts: [9_999])
        let before = try node.engine.inspect()
        let app = try node.process("a", in: node.a)
        // Nothing listens there: a connect that isn't captured fails.
        try app.send(
          """
          n = 0; end = time.monotonic() + 1.5
          while time.monotonic() < end:
            s = socket.create_connection(('10.9.0.3', 8080)); s.close(); n += 1; time.sleep(0.001)
          r = n
          """)
        for _ in 0..<5 {
          try node.reload()
          usleep(100_000)
        }
        let connects = try #require(Int(try app.answer()), "a connect failed")
        var accepted = 0
        while !isQuiet(listeners[PodListener.outbound.rawValue]) {
          let socket = try acceptNext(listeners[PodListener.outbound.rawValue])
          if try originalDestination(socket) == "10.9.0.3:8080" { accepted += 1 }
          close(socket)
        }
        #expect(connects > 50)
        #expect(accepted == connects)

        let after = try node.engine.inspect()
        #expect(after.programs.map(\.name) == before.programs.map(\.name))
        #expect(Set(after.programs.map(\.id)).isDisjoint(with: before.programs.map(\.id)))
        #expect(after.links.map(\.id) == before.links.map(\.id), "the same links, with other programs")
        #expect(Set(after.links.map(\.program)).isSubset(of: after.programs.map(\.id)))
        #expect(after.links.allSatisfy { !$0.target.isEmpty })
        #expect(after.maps.map(\.id) == before.maps.map(\.id))
        #expect(after.maps.count == 13)
        let pods = try node.engine.knownPods()
        #expect(pods.map(\.uid) == ["test/a"])
        #expect(pods.map(\.cookie) == [node.a.cookie])
        #expect(pods.map(\.addresses) == [TestNode.addressesOfA])
        #expect(pods.map(\.probePorts) == [[9_999]])
        // And it can be released by an engine that didn't enrol it.
        try node.engine.release(uid: "test/a")
        #expect(try node.engine.knownPods().isEmpty)
      }
    }

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
        #expect(try node.engine.inspect().links.count == CaptureProgram.all.count - 1)
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

    /// Pins that outlived their cgroup, as after a crash that something else cleaned up after.
    @Test func aCgroupMadeAgainIsAttachedAgain() async throws {
      try await withNode { node in
        var configuration = node.configuration
        configuration.bpffsDirectory += "-again"
        configuration.cgroupRoot = node.root + "/again"
        configuration.agentCgroup = configuration.cgroupRoot
        defer {
          CaptureEngine.detach(bpffsDirectory: configuration.bpffsDirectory)
          rmdir(configuration.cgroupRoot)
        }
        for round in 0..<2 {
          try Files.makeFolder(configuration.cgroupRoot)
          let engine = try CaptureEngine(configuration)
          let links = try engine.inspect().links
          #expect(links.count == CaptureProgram.all.count - 1, "\(round)")
          #expect(links.allSatisfy { !$0.target.isEmpty })
          rmdir(configuration.cgroupRoot)
          usleep(100_000)
          #expect(try engine.inspect().links.allSatisfy(\.target.isEmpty))
        }
      }
    }

    @Test func detachRemovesEverything() async throws {
      try await withNode { node in
        _ = try await node.enrol(node.a)
        let directory = node.configuration.bpffsDirectory
        #expect(Files.exists(directory + "/links/pods/\(node.a.cookie)"))
        node.engine.detach()
        #expect(!Files.exists(directory))
        let app = try node.process("a", in: node.a)
        #expect(try app.run("socket.create_connection(('10.9.0.3', 80))") == #""ConnectionRefusedError 111""#)
        try node.reload()
        #expect(try node.engine.knownPods().isEmpty)
      }
    }
  }
}
