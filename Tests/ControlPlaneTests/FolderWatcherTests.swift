import Testing

@testable import ControlPlane

@Suite struct FolderWatcherTests {
  /// The next change, or nil after five seconds.
  private func next(_ watcher: FolderWatcher) async -> Bool {
    await withTaskGroup(of: Bool.self) { group in
      group.addTask {
        for await _ in watcher.changes { return true }
        return false
      }
      group.addTask {
        try? await Task.sleep(for: .seconds(5))
        return false
      }
      defer { group.cancelAll() }
      return await group.next() ?? false
    }
  }

  @Test func tellsOfEveryKindOfChange() async throws {
    let temporary = try TemporaryFolder()
    let watcher = try FolderWatcher(timing: .init(debounce: 10, maximum: 50, rescan: 60_000))
    defer { watcher.stop() }
    #expect(watcher.usesInotify)
    #expect(watcher.watch([temporary.path]) == 0)
    try temporary.write("a.yaml", "x")
    #expect(await next(watcher))
    try temporary.replace("a.yaml", "y")
    #expect(await next(watcher))
    temporary.link("b.yaml", to: "a.yaml")
    #expect(await next(watcher))
    try temporary.remove("a.yaml")
    #expect(await next(watcher))
  }

  @Test func aFolderThatIsNotThereCounts() throws {
    let watcher = try FolderWatcher()
    defer { watcher.stop() }
    #expect(watcher.watch(["/nowhere/at/all", "/tmp"]) == 1)
  }

  @Test func looksAgainWithoutAChange() async throws {
    let watcher = try FolderWatcher(timing: .init(debounce: 10, maximum: 50, rescan: 30))
    defer { watcher.stop() }
    #expect(await next(watcher))
    #expect(await next(watcher))
  }

  @Test func stops() async throws {
    let watcher = try FolderWatcher()
    watcher.stop()
    for await _ in watcher.changes {}
  }
}
