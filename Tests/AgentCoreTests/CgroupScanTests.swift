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
    #expect(scan.wanted(now: 0).isEmpty, "no container, nothing to look at")
    #expect(scan.interval(now: 0) == CgroupScan.scanInterval)
    #expect(scan.listed([pod(10)], now: 1).isEmpty)
    #expect(scan.listed([], now: 2) == [.vanished(pod(10))])
  }

  @Test func aProcessInTheNodesNetworkSaysNothing() {
    var scan = CgroupScan()
    _ = scan.listed([pod(10, "a")], now: 0)
    #expect(scan.wanted(now: 0) == [pod(10, "a")])
    #expect(scan.looked(pod(10, "a"), found: [("a", node)], node: node, now: 0).isEmpty)
    #expect(scan.wanted(now: 0) == [pod(10, "a")], "a runtime moves it a moment later")
    #expect(scan.interval(now: 1) == CgroupScan.eagerInterval)
    #expect(scan.interval(now: CgroupScan.eagerness) == CgroupScan.scanInterval)
    #expect(
      scan.looked(pod(10, "a"), found: [("a", 7)], node: node, now: 0) == [.sandbox(pod(10, "a"), namespace: 7)])
    #expect(scan.wanted(now: 0).isEmpty)
  }

  @Test func containersComeAndGoInTheSameSandbox() {
    var scan = CgroupScan()
    _ = scan.listed([pod(10, "pause")], now: 0)
    _ = scan.looked(pod(10, "pause"), found: [("pause", 7)], node: node, now: 0)
    _ = scan.listed([pod(10, "app", "pause")], now: 1)
    #expect(scan.wanted(now: 0).isEmpty)
    // The one it was found by goes; another is in the same network.
    _ = scan.listed([pod(10, "app")], now: 2)
    #expect(scan.wanted(now: 0) == [pod(10, "app")])
    #expect(scan.looked(pod(10, "app"), found: [("app", 7)], node: node, now: 0).isEmpty)
    #expect(scan.wanted(now: 0).isEmpty)
  }

  @Test func aSandboxMadeAnewIsGoneAndThere() {
    var scan = CgroupScan()
    _ = scan.listed([pod(10, "old")], now: 0)
    _ = scan.looked(pod(10, "old"), found: [("old", 7)], node: node, now: 0)
    _ = scan.listed([pod(10, "new")], now: 1)
    #expect(
      scan.looked(pod(10, "new"), found: [("new", 8)], node: node, now: 0)
        == [.sandboxGone(pod(10, "new")), .sandbox(pod(10, "new"), namespace: 8)])
    _ = scan.listed([pod(10)], now: 2)
    #expect(scan.looked(pod(10), found: [], node: node, now: 0) == [.sandboxGone(pod(10))])
    #expect(scan.looked(pod(10), found: [], node: node, now: 0).isEmpty)
  }

  @Test func aPodThatGoesTakesItsSandboxAlong() {
    var scan = CgroupScan()
    _ = scan.listed([pod(10, "a"), pod(11)], now: 0)
    _ = scan.looked(pod(10, "a"), found: [("a", 7)], node: node, now: 0)
    #expect(scan.listed([pod(11)], now: 1) == [.sandboxGone(pod(10, "a")), .vanished(pod(10, "a"))])
    #expect(scan.looked(pod(10, "a"), found: [("a", 7)], node: node, now: 0).isEmpty, "an answer that comes too late")
  }

  @Test func aSandboxWithoutAnAddressIsLookedForAgain() {
    var scan = CgroupScan()
    _ = scan.listed([pod(10, "a")], now: 0)
    _ = scan.looked(pod(10, "a"), found: [("a", 7)], node: node, now: 0)
    scan.failed(pod(10, "a"))
    #expect(scan.wanted(now: 0) == [pod(10, "a")])
    #expect(
      scan.looked(pod(10, "a"), found: [("a", 7)], node: node, now: 0) == [.sandbox(pod(10, "a"), namespace: 7)])
  }

  /// A pod that is over soon leaves its folder behind for a while.
  @Test func whatIsGoneIsNotLookedForAgainAndAgain() {
    var scan = CgroupScan()
    _ = scan.listed([pod(10, "a")], now: 0)
    _ = scan.looked(pod(10, "a"), found: [("a", 7)], node: node, now: 0)
    _ = scan.listed([pod(10)], now: 1)
    #expect(scan.looked(pod(10), found: [], node: node, now: 1) == [.sandboxGone(pod(10))])
    let later = CgroupScan.confirmation + CgroupScan.eagerness + 2
    #expect(scan.wanted(now: later).isEmpty && scan.interval(now: later) == CgroupScan.scanInterval)
  }

  @Test func aNamespaceThatARuntimePassedThroughIsLeft() {
    var scan = CgroupScan()
    let folder = pod(10, "a")
    _ = scan.listed([folder], now: 0)
    #expect(scan.looked(folder, found: [("a", 5)], node: node, now: 0) == [.sandbox(folder, namespace: 5)])
    #expect(scan.wanted(now: CgroupScan.confirmation - 1).isEmpty)
    let later = CgroupScan.confirmation
    #expect(scan.wanted(now: later) == [folder])
    #expect(scan.looked(folder, found: [], node: node, now: later).isEmpty, "its container is there")
    #expect(
      scan.looked(folder, found: [("a", 7)], node: node, now: later)
        == [.sandboxGone(folder), .sandbox(folder, namespace: 7)])
    #expect(scan.interval(now: CgroupScan.eagerness) <= CgroupScan.confirmation)
    #expect(scan.looked(folder, found: [("a", 7)], node: node, now: 2 * later).isEmpty)
    let last = later + CgroupScan.lastConfirmation
    #expect(scan.wanted(now: last - 1).isEmpty)
    #expect(scan.looked(folder, found: [("a", 7)], node: node, now: last).isEmpty)
    #expect(scan.wanted(now: 10 * last).isEmpty, "found three times")
  }

  @Test func moreFoldersThanANodeHasPodsAreBounded() {
    var scan = CgroupScan()
    let folders = (0..<UInt64(CgroupScan.podsBound + 10)).map { pod($0 + 100) }
    #expect(scan.listed(folders, now: 0).count == CgroupScan.podsBound)
  }
}
