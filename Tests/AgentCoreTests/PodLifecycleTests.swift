import Testing

@testable import AgentCore

@Suite struct PodLifecycleTests {
  private let second: UInt64 = 1_000_000_000

  @Test func aPodIsHeldFirstAndCapturedLast() {
    var pod = PodLifecycle()
    #expect(pod.name == "unmeshed")
    #expect(pod.set(wanted: true, hasIdentity: false) == [.hold])
    #expect(pod.name == "pending" && pod.reason.contains("certificate"))
    #expect(pod.set(wanted: true, hasIdentity: true) == [.openListeners])
    #expect(pod.listenersOpened() == [.handToProxy])
    #expect(pod.proxyReady() == [.capture])
    #expect(pod.name == "enrolled" && pod.reason.isEmpty)
  }

  @Test func whatIsKnownAlreadyChangesNothing() {
    var pod = enrolled()
    #expect(pod.set(wanted: true, hasIdentity: true).isEmpty)
    #expect(pod.set(wanted: true, hasIdentity: false).isEmpty)
    #expect(pod.proxyReady().isEmpty)
    #expect(pod.phase == .enrolled)
    var outside = PodLifecycle()
    #expect(outside.set(wanted: false, hasIdentity: true).isEmpty)
    #expect(outside.proxyReady().isEmpty)
    #expect(outside.failed("late", now: 0).isEmpty)
  }

  @Test func aLabelRemovedReleases() {
    var pod = enrolled()
    #expect(pod.set(wanted: false, hasIdentity: true) == [.release])
    #expect(pod.name == "unmeshed")
    #expect(pod.set(wanted: true, hasIdentity: true) == [.hold, .openListeners])
  }

  @Test func listenersThatComeTooLateAreDiscarded() {
    var pod = PodLifecycle()
    _ = pod.set(wanted: true, hasIdentity: true)
    _ = pod.set(wanted: false, hasIdentity: true)
    #expect(pod.listenersOpened() == [.discardListeners])
  }

  @Test func aFailureKeepsThePodHeldAndIsTriedAgainLater() {
    var pod = PodLifecycle()
    _ = pod.set(wanted: true, hasIdentity: true)
    #expect(pod.failed("port 15001 is taken", now: 0) == [.hold, .discardListeners])
    #expect(pod.name == "failed" && pod.reason == "port 15001 is taken")
    #expect(pod.tick(now: second / 10).isEmpty)
    #expect(pod.tick(now: second / 5) == [.hold, .openListeners])
    #expect(pod.failed("again", now: second) == [.hold, .discardListeners])
    #expect(pod.tick(now: second + second / 5).isEmpty)
    #expect(pod.tick(now: second + 2 * second / 5) == [.hold, .openListeners])
    var now = 2 * second
    for _ in 0..<20 {
      _ = pod.failed("again", now: now)
      now += 10 * second
      #expect(pod.tick(now: now) == [.hold, .openListeners], "no wait is longer than 10 s")
    }
    _ = pod.listenersOpened()
    _ = pod.proxyReady()
    _ = pod.failed("later", now: now)
    #expect(pod.tick(now: now + second / 5) == [.hold, .openListeners], "a success starts the waits anew")
  }

  @Test func aHoldThatFailsIsTriedAgainAlsoWithoutACertificate() {
    var pod = PodLifecycle()
    #expect(pod.set(wanted: true, hasIdentity: false) == [.hold])
    #expect(pod.failed("no room", now: 0) == [.hold, .discardListeners])
    pod.holdFailed("no room")
    #expect(pod.name == "failed" && pod.reason == "can't be held: no room")
    #expect(pod.tick(now: second) == [.hold])
    #expect(pod.name == "pending")
    // Where both fail both are told.
    _ = pod.failed("port 15001 is taken", now: second)
    pod.holdFailed("no room")
    #expect(pod.reason == "port 15001 is taken; and can't be held: no room")
  }

  private func enrolled() -> PodLifecycle {
    var pod = PodLifecycle()
    _ = pod.set(wanted: true, hasIdentity: true)
    _ = pod.listenersOpened()
    _ = pod.proxyReady()
    return pod
  }

  private enum Event: CaseIterable { case want, wantBare, unwant, opened, openFailed, ready, captureFailed, later }

  /// Carries out actions as the agent does, and checks after each that nothing passes by the proxy.
  private struct World {
    var pod = PodLifecycle()
    var isWanted = false
    var isHeld = false
    var isCaptured = false
    var isOpening = false
    var isOpen = false
    var isHanded = false
    var now: UInt64 = 0
    var wrong: String?

    mutating func apply(_ event: Event) {
      now += 20_000_000_000
      switch event {
      case .want, .wantBare:
        isWanted = true
        perform(pod.set(wanted: true, hasIdentity: event == .want))
      case .unwant:
        isWanted = false
        isOpening = false
        perform(pod.set(wanted: false, hasIdentity: true))
      case .opened:
        guard isOpening else { return }
        isOpening = false
        isOpen = true
        perform(pod.listenersOpened())
      case .openFailed:
        guard isOpening else { return }
        isOpening = false
        perform(pod.failed("no", now: now))
      case .ready: if isHanded { perform(pod.proxyReady()) }
      case .captureFailed: if isCaptured { perform(pod.failed("no", now: now)) }
      case .later: perform(pod.tick(now: now))
      }
      if !isWanted, isHeld || isCaptured || isOpen || isHanded { wrong = "something is left of a pod outside" }
    }

    private mutating func perform(_ actions: [PodLifecycle.Action]) {
      for action in actions {
        switch action {
        case .hold: (isHeld, isCaptured) = (true, false)
        case .openListeners:
          if isOpening || isOpen { wrong = "opened twice" }
          isOpening = true
        case .handToProxy:
          if !isOpen { wrong = "nothing to hand over" }
          isHanded = true
        case .capture:
          if !isOpen || !isHanded { wrong = "captured without a listener that is served" }
          (isHeld, isCaptured) = (false, true)
        case .discardListeners:
          if isCaptured { wrong = "listeners closed under a captured pod" }
          (isOpen, isHanded) = (false, false)
        case .release: (isHeld, isCaptured, isOpen, isHanded) = (false, false, false, false)
        }
        if isWanted, !isHeld, !isCaptured { wrong = "a meshed pod is let through in plaintext after \(action)" }
      }
    }
  }

  /// Every sequence of six events.
  @Test func inNoOrderOfEventsDoesAnythingPassUncaptured() {
    var failures: [String] = []
    func go(_ world: World, _ path: [Event]) {
      if let wrong = world.wrong {
        failures.append("\(path): \(wrong)")
        return
      }
      guard path.count < 6, failures.isEmpty else { return }
      for event in Event.allCases {
        var next = world
        next.apply(event)
        go(next, path + [event])
      }
    }
    go(World(), [])
    #expect(failures.isEmpty)
  }
}
