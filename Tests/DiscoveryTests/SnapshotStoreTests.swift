import DiscoveryAPI
import Foundation
import Testing

@testable import Discovery

@Suite struct SnapshotStoreTests {
  let directory = try! TemporaryDirectory()  // A test without a directory can't go on.
  var path: String { directory.path + "/state/snapshot" }

  private func state(_ count: Int = 3, bytes: Int = 10) -> DiscoveryState {
    var state = DiscoveryState()
    state.apply(
      DiscoveryUpdate(
        typeURL: workloadType,
        resources: (0..<count).map {
          ReceivedResource(
            name: "shop/pod-\($0)", version: "v\($0)", value: Data(repeating: UInt8($0 % 256), count: bytes))
        }, removed: []))
    return state
  }

  @Test func stateAppliesButForTheRejected() {
    var state = state()
    #expect(state.count(workloadType) == 3 && state.versions(workloadType)["shop/pod-1"] == "v1")
    let better = ReceivedResource(name: "shop/pod-0", version: "w", value: Data())
    let bad = ReceivedResource(name: "shop/pod-1", version: "w", value: Data())
    state.apply(
      DiscoveryUpdate(typeURL: workloadType, resources: [better, bad], removed: ["shop/pod-2", "never"]),
      rejected: ["shop/pod-1"])
    #expect(state.versions(workloadType) == ["shop/pod-0": "w", "shop/pod-1": "v1"])
    #expect(state.versions(serviceType).isEmpty && !state.isEmpty && DiscoveryState().isEmpty)
    #expect(state.asUpdate(workloadType).resources.count == 2)
  }

  @Test func savesAndLoads() throws {
    let store = try SnapshotStore(path: path)
    #expect(try store.load() == nil)
    try store.save(state())
    #expect(try store.load() == state())
    try store.save(state(1))
    #expect(try store.load() == state(1))
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    #expect(attributes[.posixPermissions] as? Int == 0o600)
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path + "/state") == ["snapshot"])
  }

  @Test func aDamagedFileIsAnErrorAndIsReplaced() throws {
    let store = try SnapshotStore(path: path)
    try store.save(state())
    let good = try Data(contentsOf: URL(filePath: path))
    var flipped = good
    flipped[flipped.count - 1] ^= 1
    for bad in [flipped, Data(good.dropLast()), Data(good.prefix(20)), Data(), Data("something else".utf8)] {
      try bad.write(to: URL(filePath: path))
      let error = #expect(throws: DiscoveryError.self) { try store.load() }
      #expect(error?.kind == .damaged && error?.description.contains(path) == true)
    }
    try store.save(state())
    #expect(try store.load() == state())
    chmod(path, 0o644)
    #expect(throws: DiscoveryError.self) { try store.load() }
  }

  @Test func thatItIsOldIsSaidUntilItIsSavedAgain() throws {
    let path = directory.path + "/marked/snapshot"
    let store = try SnapshotStore(path: path)
    #expect(!store.isStale)
    store.markStale()
    store.markStale()
    #expect(try SnapshotStore(path: path).isStale, "the next program knows")
    try store.save(state())
    #expect(store.isStale, "it may have changed meanwhile: its owner says when not")
    store.clearStale()
    #expect(try !SnapshotStore(path: path).isStale)
  }

  // Mounting a small file system needs root.
  @Test(.enabled(if: geteuid() == 0, "needs root to mount a tmpfs"))
  func aFullDiskLeavesTheOldFile() throws {
    let mount = directory.path + "/small"
    try FileManager.default.createDirectory(atPath: mount, withIntermediateDirectories: true)
    try #require(Glibc.mount("weft-test", mount, "tmpfs", 0, "size=64k") == 0)
    defer { umount2(mount, Int32(MNT_DETACH)) }
    let store = try SnapshotStore(path: mount + "/snapshot")
    try store.save(state())
    let error = #expect(throws: DiscoveryError.self) { try store.save(state(100, bytes: 4096)) }
    #expect(error?.kind == .file(ENOSPC))
    #expect(error?.description.contains("No space left") == true)
    #expect(try store.load() == state())
    #expect(try FileManager.default.contentsOfDirectory(atPath: mount) == ["snapshot"])
    try store.save(state(2))
    #expect(try store.load() == state(2))
  }
}
