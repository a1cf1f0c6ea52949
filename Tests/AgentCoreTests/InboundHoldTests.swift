import Capture
import Discovery
import Foundation
import Glibc
import MeshModel
import Testing

@testable import AgentCore

extension AgentTests {
  /// What is sent to pods that aren't enrolled, on the real kernel.
  @Suite struct InboundHold {
    /// Listens from its first instant on.
    private static let server = """
      l = socket.create_server(('0.0.0.0', 8080))
      """
    /// What becomes of a connection to the pod from outside of it.
    private static func knock(_ outside: PodProgram) async throws -> String {
      try await outside.ask("attempt()")
    }
    private static let client = """
      def attempt():
        s = socket.socket(); s.settimeout(0.7)
        try: s.connect(('10.9.9.2', 8080)); return 'open'
        except TimeoutError: return 'nothing'
        except OSError as e: return e.errno
        finally: s.close()
      """

    @Test func aMeshedPodIsNotConnectedToBeforeItIsEnrolledAndOthersAre() async throws {
      let (meshed, plain) = (KubeTree.uid(0x61), KubeTree.uid(0x62))
      let workloads = [
        // Nobody signs a certificate for it.
        try Sample.workload("web", podUID: meshed, account: "uncertified"),
        try Sample.workload("job", meshed: false, podUID: plain),
      ]
      try await withAgent(workloads, inCgroups: true) { node in
        let tree = try #require(node.tree)
        #expect(await eventually { await node.agent.holdsUnseen })
        // Refused once the agent has seen its network, dropped before.
        for (uid, expected) in [(meshed, ["nothing", "111"]), (plain, ["open"])] {
          let network = try PodNetwork()
          defer { network.close() }
          let outside = try PodProgram(cgroup: nil, namespace: network.outside, Self.client)
          defer { outside.stop() }
          try tree.make(pod: uid)
          let program = try tree.start(uid, in: network.pod, Self.server)
          #expect(try await program.ask("1") == "1")
          #expect(await eventually { await node.agent.verdict(uid) == (uid == meshed ? .held : .passes) })
          let outcome = try await Self.knock(outside)
          #expect(expected.contains(outcome), "\(outcome)")
          #expect(
            try await program.ask("socket.create_connection(('127.0.0.1', 8080)) and 1") == "1",
            "its loopback is its own")
        }
      }
    }

    @Test func withoutAnAgentANewPodIsNotConnectedTo() async throws {
      let (old, new) = (KubeTree.uid(0x63), KubeTree.uid(0x64))
      let workloads = [try Sample.workload("job", meshed: false, podUID: old), try Sample.workload("web", podUID: new)]
      try await withAgent(workloads, keepsOnExit: true, inCgroups: true) { node in
        let tree = try #require(node.tree)
        #expect(await eventually { await node.agent.holdsUnseen })
        let (before, after) = (try PodNetwork(), try PodNetwork())
        defer {
          before.close()
          after.close()
        }
        try tree.make(pod: old)
        let served = try tree.start(old, in: before.pod, Self.server)
        #expect(try await served.ask("1") == "1")
        #expect(await eventually { await node.agent.verdict(old) == .passes })
        try await node.stop()
        let stranger = try PodProgram(cgroup: nil, namespace: before.outside, Self.client)
        defer { stranger.stop() }
        #expect(try await Self.knock(stranger) == "open", "a pod of before is none of this")

        let outside = try PodProgram(cgroup: nil, namespace: after.outside, Self.client)
        defer { outside.stop() }
        try tree.make(pod: new)
        let program = try tree.start(new, in: after.pod, Self.server)
        #expect(try await program.ask("1") == "1")
        #expect(try await Self.knock(outside) == "nothing")
        #expect(try await after.packets().isEmpty)
        // A pod of the node's network is never held.
        let host = KubeTree.uid(0x65)
        try tree.make(pod: host)
        let listener = try tree.start(host, in: nil, "l = socket.create_server(('127.0.0.1', 0))")
        let port = try await listener.ask("l.getsockname()[1]")
        let neighbour = try PodProgram(cgroup: nil, namespace: nil)
        defer { neighbour.stop() }
        #expect(try await neighbour.ask("socket.create_connection(('127.0.0.1', \(port)), 2) and 1") == "1")

        try node.startAgain()
        #expect(await node.becomes("enrolled", "web"))
        #expect(await eventually { (try? await Self.knock(outside)) == "open" }, "by way of its proxy")
      }
    }

    /// Its cgroup is the same, and its address another.
    @Test func aSandboxMadeAnewWhileNoAgentIsThereIsNotConnectedTo() async throws {
      let uid = KubeTree.uid(0x66)
      try await withAgent([try Sample.workload("web", podUID: uid)], keepsOnExit: true, inCgroups: true) { node in
        let tree = try #require(node.tree)
        let first = try lonelyNamespace("10.9.9.40")
        try tree.make(pod: uid)
        let before = try tree.start(uid, in: first)
        #expect(await node.becomes("enrolled", "web"))
        #expect(await eventually { await node.agent.verdict(uid) == .enrolled })
        try await node.stop()
        before.stop()
        let second = try PodNetwork()
        defer { second.close() }
        let outside = try PodProgram(cgroup: nil, namespace: second.outside, Self.client)
        defer { outside.stop() }
        let program = try tree.start(uid, container: 2, in: second.pod, Self.server)
        #expect(try await program.ask("1") == "1")
        #expect(try await Self.knock(outside) == "nothing")
        try node.startAgain()
        #expect(await eventually { (try? await Self.knock(outside)) == "open" })
      }
    }
  }
}
