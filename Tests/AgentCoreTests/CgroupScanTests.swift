import Testing

@testable import AgentCore

@Suite struct CgroupScanTests {
  private typealias Folder = CgroupScan.Folder
  private let node: UInt64 = 1

  private func pod(_ cgroup: UInt64, _ containers: String...) -> Folder {
    Folder(uid: "pod-\(cgroup)", path: "/kubepods/pod\(cgroup)", cgroup: cgroup, containers: containers.sorted())
  }

  @Test func aFolderIsToldBeforeAnyProcessOfIt() {
    var scan = CgroupScan()
    #expect(scan.listed([pod(10)], now: 0) == [.appeared(pod(10))])
    #expect(scan.wanted().isEmpty, "no container, nothing to look at")
    #expect(scan.interval(now: 0) == CgroupScan.scanInterval)
    #expect(scan.listed([pod(10)], now: 1).isEmpty)
    #expect(scan.listed([], now: 2) == [.vanished(pod(10))])
  }

  @Test func aProcessInTheNodesNetworkSaysNothing() {
    var scan = CgroupScan()
    _ = scan.listed([pod(10, "a")], now: 0)
    #expect(scan.wanted() == [.look(pod(10, "a"))])
    #expect(scan.looked(pod(10, "a"), found: [("a", node)], node: node).isEmpty)
    #expect(scan.wanted() == [.look(pod(10, "a"))], "a runtime moves it a moment later")
    #expect(scan.interval(now: 1) == CgroupScan.eagerInterval)
    #expect(scan.interval(now: CgroupScan.eagerness) == CgroupScan.scanInterval)
    #expect(
      scan.looked(pod(10, "a"), found: [("a", 7)], node: node) == [.sandbox(pod(10, "a"), namespace: 7)])
    #expect(scan.wanted().isEmpty)
  }

  @Test func containersComeAndGoInTheSameSandbox() {
    var scan = CgroupScan()
    _ = scan.listed([pod(10, "pause")], now: 0)
    _ = scan.looked(pod(10, "pause"), found: [("pause", 7)], node: node)
    _ = scan.listed([pod(10, "app", "pause")], now: 1)
    #expect(scan.wanted().isEmpty)
    // The one it was found by goes; another is in the same network.
    _ = scan.listed([pod(10, "app")], now: 2)
    #expect(scan.wanted() == [.look(pod(10, "app"))])
    #expect(scan.looked(pod(10, "app"), found: [("app", 7)], node: node).isEmpty)
    #expect(scan.wanted().isEmpty)
  }

  @Test func aSandboxMadeAnewIsGoneAndThere() {
    var scan = CgroupScan()
    _ = scan.listed([pod(10, "old")], now: 0)
    _ = scan.looked(pod(10, "old"), found: [("old", 7)], node: node)
    _ = scan.listed([pod(10, "new")], now: 1)
    #expect(
      scan.looked(pod(10, "new"), found: [("new", 8)], node: node)
        == [.sandboxGone(pod(10, "new")), .sandbox(pod(10, "new"), namespace: 8)])
    _ = scan.listed([pod(10)], now: 2)
    #expect(scan.looked(pod(10), found: [], node: node) == [.sandboxGone(pod(10))])
    #expect(scan.looked(pod(10), found: [], node: node).isEmpty)
  }

  @Test func aPodThatGoesTakesItsSandboxAlong() {
    var scan = CgroupScan()
    _ = scan.listed([pod(10, "a"), pod(11)], now: 0)
    _ = scan.looked(pod(10, "a"), found: [("a", 7)], node: node)
    #expect(scan.listed([pod(11)], now: 1) == [.sandboxGone(pod(10, "a")), .vanished(pod(10, "a"))])
    #expect(scan.looked(pod(10, "a"), found: [("a", 7)], node: node).isEmpty, "an answer that comes too late")
  }

  @Test func aSandboxWithoutAnAddressIsLookedForAgain() {
    var scan = CgroupScan()
    _ = scan.listed([pod(10, "a")], now: 0)
    _ = scan.looked(pod(10, "a"), found: [("a", 7)], node: node)
    scan.failed(pod(10, "a"))
    #expect(scan.wanted() == [.look(pod(10, "a"))])
    #expect(
      scan.looked(pod(10, "a"), found: [("a", 7)], node: node) == [.sandbox(pod(10, "a"), namespace: 7)])
  }

  @Test func moreFoldersThanANodeHasPodsAreBounded() {
    var scan = CgroupScan()
    let folders = (0..<UInt64(CgroupScan.podsBound + 10)).map { pod($0 + 100) }
    #expect(scan.listed(folders, now: 0).count == CgroupScan.podsBound)
  }
}
