import CLibbpf
import CLinux
import Foundation
import MeshModel
import Testing

@testable import Capture

extension KernelTests {
  @Suite struct Upgrade {
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
        #expect(connects > 5)
        #expect(accepted == connects)

        let after = try node.engine.inspect()
        #expect(after.programs.map(\.name) == before.programs.map(\.name))
        #expect(Set(after.programs.map(\.id)).isDisjoint(with: before.programs.map(\.id)))
        #expect(after.links.map(\.id) == before.links.map(\.id), "the same links, with other programs")
        #expect(Set(after.links.map(\.program)).isSubset(of: after.programs.map(\.id)))
        #expect(after.links.allSatisfy { !$0.target.isEmpty })
        #expect(after.maps.map(\.id) == before.maps.map(\.id))
        #expect(after.maps.count == 15)
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
          #expect(links.count == CaptureProgram.all.count(where: \.isSingle), "\(round)")
          #expect(links.allSatisfy { !$0.target.isEmpty })
          rmdir(configuration.cgroupRoot)
          // The kernel takes links from a cgroup that is gone when it gets to it.
          for _ in 0..<300 {
            if try engine.inspect().links.allSatisfy(\.target.isEmpty) { break }
            usleep(50_000)
          }
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
