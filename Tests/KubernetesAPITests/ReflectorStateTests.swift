import Testing

@testable import KubernetesAPI

@Suite struct ReflectorStateTests {
  private func object(_ name: String, _ version: String) throws -> KubernetesObject {
    try KubernetesObject(["metadata": ["name": .text(name), "resourceVersion": .text(version)]])
  }

  private func page(_ names: [String], version: String, next: String = "") throws -> ObjectPage {
    var page = try ObjectPage(body: Array(#"{"metadata":{"resourceVersion":"0"},"items":[]}"#.utf8))
    page.objects = try names.map { try object($0, "1") }
    page.resourceVersion = version
    page.next = next
    return page
  }

  private func listed(_ version: String = "10") throws -> ReflectorState {
    var state = ReflectorState()
    _ = try state.received(try page(["a"], version: version))
    return state
  }

  @Test func pagesThenAWatch() throws {
    var state = ReflectorState()
    #expect(state.next == .page(continuing: ""))
    #expect(
      try state.received(try page(["a", "b"], version: "10", next: "more"))
        == .init(objects: try ["a", "b"].map { try object($0, "1") }, isFirst: true, isLast: false))
    #expect(state.next == .page(continuing: "more"))
    #expect(
      try state.received(try page(["c"], version: "10"))
        == .init(objects: [try object("c", "1")], isFirst: false, isLast: true))
    #expect(state.next == .watch(from: "10"))
  }

  @Test func aWatchGoesOnWhereTheLastOneEnded() throws {
    var state = try listed()
    let changed = try object("a", "11")
    #expect(try state.received(.changed(changed)) == .changed(changed))
    #expect(state.next == .watch(from: "11"))
    #expect(try state.received(.deleted(try object("a", "12"))) == .deleted(try object("a", "12")))
    #expect(try state.received(.bookmark("40")) == nil)
    #expect(state.next == .watch(from: "40"))
    // Whatever broke it, but for a version that is gone.
    for error in [KubernetesError.unreachable("x"), .failed(500, ""), .refused(401, ""), .throttled(after: 1)] {
      _ = state.failed(error, random: 0.5)
      #expect(state.next == .newest)
      state.received(newest: "40")
      #expect(state.next == .watch(from: "40"))
    }
  }

  @Test func whatIsGoneIsListedAgain() throws {
    var state = try listed()
    #expect(throws: KubernetesError.gone) { try state.received(.failed(.gone)) }
    #expect(state.failed(.gone, random: 0) == 0, "at once")
    #expect(state.next == .page(continuing: ""))
    // In a loop no quicker than after other failures.
    #expect(state.failed(.gone, random: 0) > 0)
    // In the middle of a list too: its continuation is worth nothing.
    _ = try state.received(try page(["a"], version: "20", next: "more"))
    _ = state.failed(.gone, random: 0)
    #expect(state.next == .page(continuing: ""))
    #expect(
      try state.received(try page(["b"], version: "21"))
        == .init(objects: [try object("b", "1")], isFirst: true, isLast: true))
  }

  /// A list that succeeds in between says nothing of the watch; an event does.
  @Test func watchesThatAreGoneInALoopPause() throws {
    var state = try listed()
    var pauses: [Int] = []
    for _ in 0..<12 {
      #expect(throws: KubernetesError.gone) { try state.received(.failed(.gone)) }
      pauses.append(state.failed(.gone, random: 0))
      _ = try state.received(try page(["a"], version: "20"))
    }
    #expect(pauses[0] == 0 && pauses[1] > 0 && pauses == pauses.sorted(), "\(pauses)")
    #expect(pauses.last == ReflectorState.longestPause / 2)
    _ = try state.received(.bookmark("30"))
    #expect(throws: KubernetesError.gone) { try state.received(.failed(.gone)) }
    #expect(state.failed(.gone, random: 0) == 0)
  }

  /// A server that was restored from a backup, or lost everything, has older versions: a watch from the last one would say
  /// nothing until they are passed.
  @Test(arguments: [("19", true), ("20", false), ("21", false), ("abc", false)])
  func aServerThatIsBehindIsListedAgain(newest: String, isListed: Bool) throws {
    var state = try listed()
    _ = try state.received(.bookmark("20"))
    #expect(state.next == .watch(from: "20"))
    state.watchEnded()
    #expect(state.next == .newest)
    state.received(newest: newest)
    #expect(state.next == (isListed ? .page(continuing: "") : .watch(from: "20")))
    _ = state.failed(.unreachable("x"), random: 0)
    #expect(state.next == (isListed ? .page(continuing: "") : .newest))
  }

  @Test func garbageInALoopPauses() throws {
    var state = try listed()
    var pauses: [Int] = []
    for _ in 0..<12 {
      pauses.append(state.failed(.malformed("x"), random: 0))
      _ = try state.received(try page(["a"], version: "20"))
    }
    #expect(pauses == pauses.sorted() && pauses.last == ReflectorState.longestPause / 2, "\(pauses)")
  }

  @Test func garbageIsListedAgain() throws {
    var state = try listed()
    _ = state.failed(.malformed("x"), random: 0)
    #expect(state.next == .page(continuing: ""))
  }

  @Test func pausesDoubleWithJitterAndEnd() throws {
    var state = ReflectorState()
    var last = 0
    for round in 1...12 {
      let low = state.failed(.unreachable("x"), random: 0)
      var same = ReflectorState()
      for _ in 1..<round { _ = same.failed(.unreachable("x"), random: 0) }
      let high = same.failed(.unreachable("x"), random: 0.999)
      #expect(low >= last && high <= ReflectorState.longestPause && high >= low)
      last = low
    }
    #expect(last == ReflectorState.longestPause / 2)
    // An answer forgets them.
    _ = try state.received(try page([], version: "1"))
    #expect(state.failed(.unreachable("x"), random: 0) == 100)
  }

  @Test func patienceIsHonoured() {
    var state = ReflectorState()
    #expect(5000...6000 ~= state.failed(.throttled(after: 5), random: 0.5))
  }

  @Test func aMissingKindIsNoError() throws {
    var state = try listed()
    #expect(state.failed(.notFound("x"), random: 0) == ReflectorState.missingPause && state.isMissing)
    #expect(state.next == .page(continuing: ""))
    _ = try state.received(try page([], version: "1"))
    #expect(!state.isMissing)
  }
}
