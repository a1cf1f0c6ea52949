import Capture
import Discovery
import MeshModel
import Testing

@testable import AgentCore

/// Namespaces are the kernel's: making one needs root.
@Suite(.enabled(if: isRoot, "makes network namespaces")) struct CgroupPodsTests {
  private let address = IPAddress("10.1.1.1")!

  private func mesh(_ workloads: ReceivedResource...) -> MeshState {
    var mesh = MeshState(node: Sample.node)
    _ = mesh.apply(Sample.update(workloads))
    return mesh
  }

  private func around(
    _ mesh: MeshState, enrolled: Set<String> = [], byStub: [String: String] = [:]
  ) -> CgroupPods.Surroundings {
    .init(
      mesh: mesh, isConnected: true, isEnrolled: { enrolled.contains($0) },
      isEnrolledByStub: { byStub[$0] == $1.path })
  }

  private func folder(_ cgroup: UInt64, _ uid: String, isRunning: Bool = false) -> PodFolder {
    PodFolder(uid: uid, cgroup: cgroup, path: "/kubepods/pod\(uid)", isRunning: isRunning)
  }

  private func sandbox() throws -> CgroupPods.Sandbox {
    .init(namespace: OpenNamespace(try NetworkNamespace()), addresses: [address])
  }

  private func uids(_ actions: [CgroupPods.Action]) -> [String] {
    actions.map { action in
      switch action {
      case .judge(let cgroup, let verdict): "judge \(cgroup) \(verdict.map { "\($0)" } ?? "nil")"
      case .appeared(let sandbox): "appeared \(sandbox.uid)"
      case .vanished(let uid): "vanished \(uid)"
      case .holdNetwork(let uid, _): "hold \(uid)"
      case .releaseNetwork(let uid): "release \(uid)"
      }
    }
  }

  @Test func aMeshedPodsWay() throws {
    let mesh = mesh(try Sample.workload("web", podUID: "u1"))
    var pods = CgroupPods(policy: HoldPolicy(), records: [:])
    _ = pods.synchronized()
    pods.appeared(folder(10, "u1"), now: 0)
    #expect(uids(pods.settle(around(mesh), now: 0)) == ["judge 10 held"])
    pods.appeared(try sandbox(), cgroup: 10)
    #expect(uids(pods.settle(around(mesh), now: 0)) == ["appeared shop/web"])
    #expect(pods.settle(around(mesh), now: 0).isEmpty)
    #expect(uids(pods.settle(around(mesh, enrolled: ["shop/web"]), now: 0)) == ["judge 10 enrolled"])
    // The next sandbox of the pod is held before the old one is let go.
    #expect(uids(pods.sandboxVanished(cgroup: 10)) == ["judge 10 held", "vanished shop/web"])
    #expect(uids(pods.vanished(cgroup: 10)) == ["judge 10 nil"])
  }

  @Test func aPodThatOnlyItsStubHasShownIsEnrolledInItsOwnFolderAlone() throws {
    let mesh = mesh(try Sample.workload("web", podUID: "u1"))
    var pods = CgroupPods(policy: HoldPolicy(entersPods: false), records: [:])
    _ = pods.synchronized()
    pods.appeared(folder(10, "u1"), now: 0)
    #expect(uids(pods.settle(around(mesh, byStub: ["shop/web": "/kubepods/podu0"]), now: 0)) == ["judge 10 held"])
    let enrolled = around(mesh, byStub: ["shop/web": "/kubepods/podu1"])
    #expect(uids(pods.settle(enrolled, now: 0)) == ["judge 10 enrolled"])
    #expect(pods.settle(enrolled, now: 0).isEmpty)
    #expect(uids(pods.settle(around(mesh), now: 0)) == ["judge 10 held"])
  }

  @Test func anUnknownPodIsHeldOnBothSidesUntilItIsNamed() throws {
    var pods = CgroupPods(policy: HoldPolicy(), records: [:])
    _ = pods.synchronized()
    pods.appeared(folder(10, "u1"), now: 0)
    pods.appeared(try sandbox(), cgroup: 10)
    #expect(uids(pods.settle(around(mesh()), now: 0)) == ["judge 10 held", "hold u1"])
    let plain = mesh(try Sample.workload("web", meshed: false, podUID: "u1"))
    #expect(uids(pods.settle(around(plain), now: 0)) == ["appeared shop/web", "judge 10 passes", "release u1"])
    // Meshed by a label, and unnamed: it was meshed.
    let meshed = mesh(try Sample.workload("web", podUID: "u1"))
    #expect(uids(pods.settle(around(meshed), now: 0)) == ["judge 10 held"])
    #expect(uids(pods.settle(around(mesh()), now: 0)) == ["hold u1"])
    #expect(pods.settle(around(mesh()), now: 3_600_000_000_000).isEmpty, "without a bound")
  }

  @Test func aNameFollowsToTheNextPodWhileTheOldCgroupLingers() throws {
    let first = mesh(try Sample.workload("db-0", podUID: "u1"))
    let second = mesh(try Sample.workload("db-0", podUID: "u2"))
    var pods = CgroupPods(policy: HoldPolicy(), records: [:])
    _ = pods.synchronized()
    pods.appeared(folder(10, "u1"), now: 0)
    pods.appeared(try sandbox(), cgroup: 10)
    _ = pods.settle(around(first, enrolled: ["shop/db-0"]), now: 0)
    pods.appeared(folder(11, "u2"), now: 0)
    pods.appeared(try sandbox(), cgroup: 11)
    #expect(
      uids(pods.settle(around(second), now: 0))
        == ["vanished shop/db-0", "appeared shop/db-0", "judge 10 held", "hold u1", "judge 11 held"])
    #expect(uids(pods.vanished(cgroup: 10)) == ["release u1", "judge 10 nil"], "the new one keeps the name")
  }

  @Test func atTheFirstStartWhoRunsPassesAndAfterAnAgentNobodyDoes() {
    let cases: [(records: [UInt64: CgroupVerdict], verdict: String)] = [([:], "passes"), ([5: .podsFolder], "held")]
    for (records, verdict) in cases {
      var pods = CgroupPods(policy: HoldPolicy(), records: records)
      _ = pods.found(podsFolders: [5])
      pods.appeared(folder(10, "u1", isRunning: true), now: 0)
      #expect(uids(pods.settle(around(mesh()), now: 0)) == ["judge 10 \(verdict)"])
      #expect(uids(pods.synchronized()) == ["judge 5 podsFolder"])
    }
  }

  @Test func whatAnAgentBeforeSaidOfCgroupsThatAreGoneIsTakenBack() {
    var pods = CgroupPods(policy: HoldPolicy(), records: [5: .podsFolder, 7: .held, 8: .passes])
    _ = pods.found(podsFolders: [5])
    pods.appeared(folder(8, "u8"), now: 0)
    #expect(uids(pods.settle(around(mesh()), now: 0)) == ["judge 8 passes"], "let pass before")
    #expect(uids(pods.synchronized()) == ["judge 7 nil", "judge 5 podsFolder"])
  }
}
