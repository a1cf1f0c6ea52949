import Foundation
import Glibc
import Testing

@testable import ControlPlane

@Suite struct ConfigFolderTests {
  private let temporary: TemporaryFolder

  init() throws { temporary = try TemporaryFolder() }

  private func refusal(_ folder: ConfigFolder, _ file: String) -> String {
    folder.registry.refusals(of: file).joined(separator: " | ")
  }

  private func names(_ look: ConfigFolder.Look) -> [String] {
    look.changes.map { ($0.object == nil ? "-" : "+") + $0.key.name.name }
  }

  @Test func onlyWhatChangedIsReadAgain() throws {
    for index in 0..<20 { try temporary.write("n\(index).yaml", Sample.node("n\(index)")) }
    try temporary.write("README.md", "not configuration")
    try temporary.write(".hidden.yaml", "kind: [")
    var folder = ConfigFolder(path: temporary.path)
    var look = folder.look()
    #expect(look.filesRead == 20 && look.changes.count == 20)
    look = folder.look()
    #expect(look.filesRead == 0 && look.changes.isEmpty && look.changedFiles.isEmpty)
    try temporary.replace("n3.yaml", Sample.node("m3"))
    look = folder.look()
    #expect(look.filesRead == 1)
    #expect(names(look) == ["+m3", "-n3"])
  }

  @Test func aFileRewrittenInPlaceWithItsOldSizeAndTimeIsNoticed() throws {
    try temporary.write("a.yaml", Sample.node("one"))
    var folder = ConfigFolder(path: temporary.path)
    _ = folder.look()
    let path = "\(temporary.path)/a.yaml"
    let date = try FileManager.default.attributesOfItem(atPath: path)[.modificationDate]
    let handle = try FileHandle(forWritingTo: URL(filePath: path))
    try handle.write(contentsOf: Data(Sample.node("two").utf8))
    try handle.close()
    try FileManager.default.setAttributes([.modificationDate: date as Any], ofItemAtPath: path)
    #expect(names(folder.look()) == ["-one", "+two"])
  }

  @Test func vanishedFilesTakeTheirObjectsAlong() throws {
    try temporary.write("a.yaml", Sample.node("a"))
    try temporary.write("sub/b.yml", Sample.node("b"))
    try temporary.write("sub/deeper/c.json", #"{"apiVersion":"v1","kind":"Node","metadata":{"name":"c"}}"#)
    var folder = ConfigFolder(path: temporary.path)
    #expect(names(folder.look()) == ["+a", "+b", "+c"])
    #expect(folder.registry.statuses.map(\.file) == ["a.yaml", "sub/b.yml", "sub/deeper/c.json"])
    try temporary.remove("sub")
    #expect(names(folder.look()) == ["-b", "-c"])
    try temporary.remove("a.yaml")
    #expect(names(folder.look()) == ["-a"])
  }

  @Test func aBadFileLeavesTheOthersAlone() throws {
    try temporary.write("a.yaml", Sample.node("a"))
    try temporary.write("b.yaml", Sample.node("b"))
    var folder = ConfigFolder(path: temporary.path)
    _ = folder.look()
    try temporary.replace("a.yaml", "kind: Node\n  metadata: [")
    try temporary.replace("b.yaml", Sample.node("b2"))
    #expect(names(folder.look()) == ["-b", "+b2"])
    #expect(refusal(folder, "a.yaml").hasPrefix("a.yaml:2:11: is not valid YAML: mapping values are not allowed"))
    #expect(refusal(folder, "a.yaml").hasSuffix("the last good version of the file stays in force"))
    try temporary.replace("a.yaml", Sample.node("a"))
    #expect(names(folder.look()) == [])
    #expect(folder.registry.statuses.allSatisfy { $0.accepted })
  }

  @Test func hugeFiles() throws {
    try temporary.write("a.yaml", Sample.node("a"))
    var folder = ConfigFolder(path: temporary.path)
    _ = folder.look()
    try temporary.replace("a.yaml", String(repeating: "# long\n", count: 700_000))
    #expect(folder.look().changes.isEmpty)
    #expect(refusal(folder, "a.yaml").contains("a.yaml: has 4900000 bytes; at most 4194304 (4 MiB) are read: split it"))
    let size = 4 * 1024 * 1024 - Sample.node("b").utf8.count
    try temporary.replace("a.yaml", Sample.node("b") + String(repeating: "#", count: size))
    #expect(names(folder.look()) == ["-a", "+b"])
  }

  @Test func symlinkLoops() throws {
    try temporary.write("a.yaml", Sample.node("a"))
    try temporary.write("sub/b.yaml", Sample.node("b"))
    temporary.link("one.yaml", to: "two.yaml")
    temporary.link("two.yaml", to: "one.yaml")
    temporary.link("self", to: "self")
    temporary.link("here", to: ".")
    temporary.link("sub/up", to: "..")
    var folder = ConfigFolder(path: temporary.path)
    #expect(names(folder.look()) == ["+a", "+b"])
    #expect(refusal(folder, "one.yaml") == "one.yaml: is a loop of links")
    #expect(refusal(folder, "two.yaml") == "two.yaml: is a loop of links")
    #expect(refusal(folder, "self") == "self: is a loop of links")
    #expect(
      refusal(folder, "here")
        == "here: leads to the configuration folder itself, which is read already (a loop of links?)")
    #expect(refusal(folder, "sub/up").hasPrefix("sub/up: leads to the configuration folder itself"))
  }

  @Test func linksThatLeaveTheFolder() throws {
    let outside = try TemporaryFolder()
    try outside.write("x.yaml", Sample.node("x"))
    temporary.link("file.yaml", to: "\(outside.path)/x.yaml")
    temporary.link("folder", to: outside.path)
    temporary.link("nothing.yaml", to: "\(outside.path)/nothing.yaml")
    temporary.link("nothing", to: "nowhere")
    var folder = ConfigFolder(path: temporary.path)
    #expect(folder.look().changes.isEmpty)
    #expect(refusal(folder, "file.yaml").hasSuffix("x.yaml, which is outside the configuration folder"))
    #expect(refusal(folder, "folder").hasSuffix(", which is outside the configuration folder"))
    #expect(refusal(folder, "nothing.yaml") == "nothing.yaml: links to nothing")
    #expect(folder.registry.statuses.count == 3)
  }

  /// A mounted ConfigMap: names link to `..data/…`, `..data` links to a folder of the version, and is swapped.
  @Test func mountedConfigMaps() throws {
    try temporary.write("..v1/a.yaml", Sample.node("a1"))
    try temporary.write("..v1/sub/b.yaml", Sample.node("b1"))
    temporary.link("..data", to: "..v1")
    temporary.link("a.yaml", to: "..data/a.yaml")
    temporary.link("sub", to: "..data/sub")
    var folder = ConfigFolder(path: temporary.path)
    var look = folder.look()
    #expect(names(look) == ["+a1", "+b1"] && look.folders.count == 2)
    try temporary.write("..v2/a.yaml", Sample.node("a2"))
    try temporary.write("..v2/sub/b.yaml", Sample.node("b1"))
    temporary.link("..next", to: "..v2")
    #expect(rename("\(temporary.path)/..next", "\(temporary.path)/..data") == 0)
    try temporary.remove("..v1")
    look = folder.look()
    #expect(names(look) == ["-a1", "+a2"])
    #expect(folder.registry.statuses.allSatisfy { $0.accepted })
  }

  @Test func whatIsNoFile() throws {
    #expect(mkfifo("\(temporary.path)/fifo.yaml", 0o600) == 0)
    try temporary.write("folder.yaml/a.yaml", Sample.node("a"))
    temporary.link("fifo2.yaml", to: "fifo.yaml")
    var folder = ConfigFolder(path: temporary.path)
    #expect(names(folder.look()) == ["+a"], "a folder may be called so")
    #expect(refusal(folder, "fifo.yaml") == "fifo.yaml: is a FIFO, not a file")
    #expect(refusal(folder, "fifo2.yaml") == "fifo2.yaml: is a FIFO, not a file")
    guard case .refused(let reason) = ConfigFile.read("/dev/null") else { return #expect(Bool(false), "read a device") }
    #expect(reason == "is a device, not a file")
    guard case .refused("is a FIFO, not a file") = ConfigFile.read("\(temporary.path)/fifo.yaml") else {
      return #expect(Bool(false), "read a FIFO")
    }
  }

  @Test func whatCannotBeReadKeepsItsLastGoodState() throws {
    try temporary.write("a.yaml", Sample.node("a"))
    try temporary.write("sub/b.yaml", Sample.node("b"))
    try temporary.write("gone.yaml", Sample.node("gone"))
    var folder = ConfigFolder(path: temporary.path)
    _ = folder.look()
    chmod("\(temporary.path)/a.yaml", 0)
    chmod("\(temporary.path)/sub", 0)
    chmod(temporary.path, 0o755)
    try temporary.remove("gone.yaml")
    let look = asNobody { folder.look() }
    #expect(names(look) == ["-gone"])
    #expect(refusal(folder, "a.yaml").hasPrefix("a.yaml: can't be opened: Permission denied; the last good version"))
    #expect(refusal(folder, "sub") == "sub: can't be opened: Permission denied")
    chmod("\(temporary.path)/a.yaml", 0o644)
    chmod("\(temporary.path)/sub", 0o755)
    #expect(folder.look().changes.isEmpty)
    #expect(folder.registry.statuses.map(\.accepted) == [true, true])
  }

  /// Root may read everything: the thread's file system user is another for the time of the body.
  private func asNobody<Result>(_ body: () -> Result) -> Result {
    // Not in Swift's Glibc module. It is the thread's own, unlike setuid.
    guard geteuid() == 0, let symbol = dlsym(nil, "setfsuid") else { return body() }
    let setFileSystemUser = unsafeBitCast(symbol, to: (@convention(c) (uid_t) -> Int32).self)
    _ = setFileSystemUser(65534)
    defer { _ = setFileSystemUser(0) }
    return body()
  }

  @Test func aFolderThatVanishesKeepsEverything() throws {
    try temporary.write("config/a.yaml", Sample.node("a"))
    var folder = ConfigFolder(path: "\(temporary.path)/config")
    _ = folder.look()
    #expect(folder.failure == nil)
    #expect(rename("\(temporary.path)/config", "\(temporary.path)/away") == 0)
    #expect(folder.look().changes.isEmpty)
    #expect(folder.failure == "can't be opened: No such file or directory")
    #expect(refusal(folder, "") == "\(temporary.path)/config: can't be opened: No such file or directory")
    #expect(rename("\(temporary.path)/away", "\(temporary.path)/config") == 0)
    #expect(folder.look().changes.isEmpty)
    #expect(folder.failure == nil && folder.registry.statuses.allSatisfy { $0.accepted })
  }

  @Test func tooManyFiles() throws {
    for name in ["a", "b", "c", "d"] { try temporary.write("\(name).yaml", Sample.node(name)) }
    var folder = ConfigFolder(path: temporary.path, limits: .init(files: 3))
    #expect(names(folder.look()) == ["+a", "+b", "+c"])
    #expect(refusal(folder, "d.yaml") == "d.yaml: is left out: the folder holds more than 3 files")
    try temporary.remove("a.yaml")
    #expect(names(folder.look()) == ["-a", "+d"])
  }

  @Test func tooManyNames() throws {
    for name in ["a", "b", "c", "d"] { try temporary.write("\(name).yaml", Sample.node(name)) }
    var folder = ConfigFolder(path: temporary.path)
    _ = folder.look()
    let listing = FolderScanner.list(temporary.path, limits: .init(names: 3))
    #expect(listing.isIncomplete && listing.unreadable[""] == "more than 3 names in the configuration folder")
  }

  @Test func tooDeep() throws {
    try temporary.write((0..<40).map { "d\($0)" }.joined(separator: "/") + "/a.yaml", Sample.node("a"))
    var folder = ConfigFolder(path: temporary.path)
    #expect(folder.look().changes.isEmpty)
    #expect(folder.registry.statuses.map(\.reason).first?.hasSuffix("d31: is more than 32 folders deep") == true)
  }

  @Test func namesThatAreNoText() throws {
    var path = Array("\(temporary.path)/".utf8) + [0xff] + Array(".yaml".utf8) + [0]
    let descriptor = path.withUnsafeMutableBytes {
      open($0.baseAddress!.assumingMemoryBound(to: CChar.self), O_CREAT | O_WRONLY, 0o600)
    }
    #expect(descriptor >= 0)
    close(descriptor)
    var folder = ConfigFolder(path: temporary.path)
    _ = folder.look()
    #expect(
      folder.registry.statuses.map(\.reason) == [
        "(unreadable name): is a file whose name is not UTF-8 text: rename it"
      ])
  }
}
