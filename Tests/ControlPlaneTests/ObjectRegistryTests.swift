import Testing

@testable import ControlPlane

@Suite struct ObjectRegistryTests {
  private func file(_ name: String, _ yaml: String) -> DecodedFile {
    FileDecoder.decode(Array(yaml.utf8), file: name)
  }

  private func keys(_ changes: [ObjectChange]) -> [String] {
    changes.map { ($0.object == nil ? "-" : "+") + $0.key.description }
  }

  @Test func aFileThatIsRefusedKeepsItsLastGoodObjects() {
    var registry = ObjectRegistry()
    #expect(
      keys(registry.update(["a": file("a", Sample.pod("x") + "---\n" + Sample.node("n"))])) == [
        "+Node n", "+Pod shop/x",
      ])
    let bad = Sample.pod("x", address: "nowhere") + "---\n" + Sample.node("m")
    #expect(
      registry.update(["a": file("a", bad), "b": file("b", Sample.node("b"))]).map(\.key.description) == ["Node b"])
    let statuses = registry.statuses
    #expect(statuses.map(\.accepted) == [false, false, true])
    #expect(
      statuses[0].reason
        == "a:5:17: Pod shop/x: status.podIP: \"nowhere\" is not an IP address; "
        + "the last good version of the file stays in force")
    #expect(statuses[1].reason.hasPrefix("not applied, because another object of the file is refused: a:5:17: Pod"))
    #expect(registry.refusals(of: "a").count == 1)
    #expect(
      keys(registry.update(["a": file("a", Sample.node("m"))]))
        == ["-Node n", "+Node m", "-Pod shop/x"].sorted { $0.dropFirst() < $1.dropFirst() })
    #expect(registry.statuses.allSatisfy { $0.accepted })
  }

  /// Of many objects only those are listed of which there is something to say: whatever comes and goes.
  @Test func whatIsListedOfMany() throws {
    var registry = ObjectRegistry()
    func listed(_ keys: [ObjectKey] = []) -> [String] { registry.statuses(listing: 2, and: keys).map(\.file) }
    _ = registry.update(["a": file("a", Sample.pod("x")), "b": file("b", Sample.node("n"))])
    #expect(listed() == ["a", "b"] && registry.count == 2)
    _ = registry.update(["c": file("c", Sample.node("n")), "d": file("d", Sample.pod("y", address: "nowhere"))])
    #expect(listed() == ["c", "d"] && registry.count == 4, "c stands in b too")
    #expect(listed([ObjectKey(kind: .pod, name: ObjectName("shop", "x"))]) == ["a", "c", "d"])
    _ = registry.update(["b": nil, "d": file("d", Sample.pod("y"))])
    #expect(listed().isEmpty && registry.count == 3, "c is the first now")
  }

  @Test func aFileThatWasNeverGoodHasNoObjects() {
    var registry = ObjectRegistry()
    #expect(registry.update(["a": file("a", "kind: [")]).isEmpty)
    #expect(registry.statuses.count == 1)
    #expect(registry.statuses[0].kind.isEmpty && !registry.statuses[0].accepted)
    #expect(!registry.statuses[0].reason.contains("last good"))
  }

  @Test func ofTwoTheFirstWinsUntilItGoes() {
    var registry = ObjectRegistry()
    #expect(keys(registry.update(["b": file("b", Sample.pod("x", address: "10.0.0.2"))])) == ["+Pod shop/x"])
    #expect(registry.update(["a": file("a", Sample.node("n") + "---\n" + Sample.pod("x"))]).map(\.key.kind) == [.node])
    let refused = registry.statuses.filter { !$0.accepted }
    #expect(refused.map(\.file) == ["a"])
    #expect(refused.first?.reason == "a:5: Pod shop/x stands in b:1 too, which was there first; this one is refused")
    #expect(registry.refusals(of: "a").count == 1 && registry.refusals(of: "b").isEmpty)
    let changes = registry.update(["b": nil])
    #expect(keys(changes) == ["+Pod shop/x"], "the other's version takes its place")
    #expect(registry.statuses.allSatisfy { $0.accepted })
  }

  @Test func ofTwoNewFilesTheFirstByNameWins() {
    var registry = ObjectRegistry()
    _ = registry.update(["b": file("b", Sample.node("n")), "a": file("a", Sample.node("n"))])
    #expect(registry.statuses.map(\.accepted) == [true, false])
  }

  @Test func anObjectMovesFromFileToFileWithoutAChange() {
    var registry = ObjectRegistry()
    _ = registry.update(["a": file("a", Sample.pod("x"))])
    #expect(registry.update(["a": nil, "b": file("b", Sample.pod("x"))]).isEmpty)
    #expect(registry.statuses.map(\.file) == ["b"] && registry.statuses[0].accepted)
  }
}
