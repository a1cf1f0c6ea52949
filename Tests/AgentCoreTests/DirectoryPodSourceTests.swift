import Foundation
import MeshModel
import Testing

@testable import AgentCore

@Suite struct DirectoryPodSourceTests {
  private let folder: TemporaryFolder
  private var scan: DirectoryPodSource.Scan

  init() throws {
    folder = try TemporaryFolder()
    scan = DirectoryPodSource.Scan(directory: folder.path)
  }

  private func pod(_ name: String, address: String = "10.244.1.2", netns: String = "/run/netns/x") -> String {
    """
    {"uid":"shop/\(name)","namespace":"shop","name":"\(name)","netns":"\(netns)","cgroup":"/sys/fs/cgroup/x",
     "addresses":["\(address)","fd00::2"]}
    """
  }

  @Test mutating func aFileIsAPod() throws {
    try folder.write(pod("web"), to: "shop_web.json")
    let expected = PodSandbox(
      uid: "shop/web", namespace: "shop", name: "web", networkNamespace: "/run/netns/x", cgroup: "/sys/fs/cgroup/x",
      addresses: ["10.244.1.2", "fd00::2"].compactMap { IPAddress($0) })
    #expect(scan.changes() == [.appeared(expected)])
    #expect(scan.changes().isEmpty, "nothing has changed")
    try FileManager.default.removeItem(atPath: folder.path + "/shop_web.json")
    #expect(scan.changes() == [.vanished(uid: "shop/web")])
    #expect(scan.changes().isEmpty)
  }

  @Test mutating func aReplacedFileIsTheSamePodAnew() throws {
    try folder.write(pod("web"), to: "shop_web.json")
    _ = scan.changes()
    try folder.write(pod("web", address: "10.244.1.9"), to: "shop_web.json")
    let events = scan.changes()
    guard case .appeared(let sandbox)? = events.first, events.count == 1 else {
      Issue.record("\(events)")
      return
    }
    #expect(sandbox.addresses.first?.description == "10.244.1.9")
  }

  @Test mutating func anotherPodInAFileReplacesTheFirst() throws {
    try folder.write(pod("web"), to: "a.json")
    _ = scan.changes()
    try folder.write(pod("api"), to: "a.json")
    let events = scan.changes()
    #expect(events.first == .vanished(uid: "shop/web"))
    #expect(events.count == 2)
  }

  @Test(arguments: [
    ("{", "is not JSON"),
    ("[]", "should be"),
    (#"{"uid":"shop/web"}"#, "namespace"),
    (#"{"uid":"shop/web","namespace":"shop","name":"web","netns":7,"addresses":["10.0.0.1"]}"#, "netns: should be"),
    (#"{"uid":"shop/web","namespace":"shop","name":"web","netns":"x","addresses":["10.0.0.1"]}"#, "netns: \"x\""),
    (#"{"uid":"shop/web","namespace":"shop","name":"web","netns":"/x","addresses":[]}"#, "addresses: "),
    (#"{"uid":"shop/web","namespace":"shop","name":"web","netns":"/x","addresses":["10.0.0.256"]}"#, "10.0.0.256"),
    (#"{"uid":"shop/other","namespace":"shop","name":"web","netns":"/x","addresses":["10.0.0.1"]}"#, "uid: "),
    (#"{"uid":"Shop/web","namespace":"Shop","name":"web","netns":"/x","addresses":["10.0.0.1"]}"#, "namespace: "),
    (#"{"uid":"shop/","namespace":"shop","name":"","netns":"/x","addresses":["10.0.0.1"]}"#, "name: "),
  ])
  func aMistakeNamesFileAndFieldAndChangesNothing(text: String, expected: String) throws {
    var scan = self.scan
    try folder.write(pod("web"), to: "shop_web.json")
    _ = scan.changes()
    try folder.write(text, to: "shop_web.json")
    let events = scan.changes()
    guard case .problem(_, let problem)? = events.first, events.count == 1 else {
      Issue.record("\(events)")
      return
    }
    #expect(problem.hasPrefix(folder.path + "/shop_web.json: "))
    #expect(problem.contains(expected), "\(problem)")
    #expect(scan.changes().isEmpty, "said once")
    try FileManager.default.removeItem(atPath: folder.path + "/shop_web.json")
    let file = folder.path + "/shop_web.json"
    #expect(
      scan.changes() == [.repaired(of: file), .vanished(uid: "shop/web")], "the pod was known until its file went")
  }

  @Test mutating func aRepairedFileIsSaidToBe() throws {
    try folder.write("{", to: "shop_web.json")
    guard case .problem(let subject, _)? = scan.changes().first else {
      Issue.record("no problem told")
      return
    }
    try folder.write("[ ]", to: "shop_web.json")
    guard case .problem(subject, _)? = scan.changes().first else {
      Issue.record("not the same problem's subject")
      return
    }
    try folder.write(pod("web"), to: "shop_web.json")
    #expect(scan.changes().first == .repaired(of: subject))
    try folder.write(pod("web", address: "10.244.1.9"), to: "shop_web.json")
    #expect(!scan.changes().contains(.repaired(of: subject)), "once")
  }

  @Test mutating func twoFilesCantBeOnePod() throws {
    try folder.write(pod("web"), to: "a.json")
    try folder.write(pod("web"), to: "b.json")
    let events = scan.changes()
    #expect(events.count == 2)
    guard case .problem(_, let problem)? = events.last else {
      Issue.record("\(events)")
      return
    }
    #expect(problem.contains("b.json") && problem.contains("a.json"))
    try FileManager.default.removeItem(atPath: folder.path + "/b.json")
    #expect(scan.changes() == [.repaired(of: folder.path + "/b.json")])
  }

  @Test mutating func hugeFilesAndOtherFilesAreNotRead() throws {
    try folder.write(String(repeating: " ", count: 70_000), to: "huge.json")
    try folder.write(pod("web"), to: "note.txt")
    try FileManager.default.createDirectory(atPath: folder.path + "/folder.json", withIntermediateDirectories: true)
    mkfifo(folder.path + "/pipe.json", 0o600)
    let events = scan.changes()
    guard case .problem(_, let problem)? = events.first, events.count == 1 else {
      Issue.record("\(events)")
      return
    }
    #expect(problem.contains("huge.json") && problem.contains("at most"))
  }

  @Test mutating func aFolderThatIsAwayKeepsItsPods() throws {
    try folder.write(pod("web"), to: "shop_web.json")
    _ = scan.changes()
    try FileManager.default.moveItem(atPath: folder.path, toPath: folder.path + ".away")
    defer { try? FileManager.default.removeItem(atPath: folder.path + ".away") }
    guard case .problem? = scan.changes().first else {
      Issue.record("no problem told")
      return
    }
    #expect(scan.changes().isEmpty, "said once")
    try FileManager.default.moveItem(atPath: folder.path + ".away", toPath: folder.path)
    #expect(scan.changes() == [.repaired(of: folder.path)], "still the same pod")
    #expect(scan.changes().isEmpty)
  }

  @Test func changesAreToldSoon() async throws {
    try folder.write(pod("web"), to: "shop_web.json")
    var events = DirectoryPodSource(directory: folder.path).events().makeAsyncIterator()
    guard case .appeared? = await events.next() else {
      Issue.record("the pod that was there comes first")
      return
    }
    #expect(await events.next() == .synchronized)
    try folder.write(pod("api"), to: "shop_api.json")
    guard case .appeared(let sandbox)? = await events.next() else {
      Issue.record("no event")
      return
    }
    #expect(sandbox.uid == "shop/api")
  }
}
