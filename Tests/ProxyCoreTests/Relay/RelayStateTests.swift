import Testing

@testable import ProxyCore

/// Every order of events up to a length, against invariants that don't repeat the implementation.
@Suite struct RelayStateTests {
  enum Step: CaseIterable {
    case ended, finished, failed, blocked, unblocked

    func apply(_ side: RelayState.Side, to state: inout RelayState) -> RelayState.Actions {
      switch self {
      case .ended: state.ended(side)
      case .finished: state.finished(side)
      case .failed: state.failed(side)
      case .blocked: state.blocked(side)
      case .unblocked: state.unblocked(side)
      }
    }
  }

  private static let moves: [(step: Step, side: RelayState.Side)] = Step.allCases.flatMap { step in
    [(step, .downstream), (step, .upstream)]
  }

  private struct History {
    var finished: Set<RelayState.Side> = []
    var ended: Set<RelayState.Side> = []
    var hasFailed = false
    var isClosed = false
    var problems: [String] = []

    mutating func note(_ step: Step, _ side: RelayState.Side, _ actions: RelayState.Actions, _ state: RelayState) {
      let wasClosed = isClosed
      if wasClosed, !actions.isEmpty { problems.append("\(step) \(side) after the end: \(actions)") }
      if !wasClosed {
        let isNewEnd = step == .ended && !ended.contains(side)
        if step == .finished { finished.insert(side) }
        if step == .ended { ended.insert(side) }
        if step == .failed { hasFailed = true }
        if actions.contains(.finishOther) != isNewEnd { problems.append("finishOther at \(step) \(side)") }
        if actions.contains(.resetOther) != (step == .failed) { problems.append("resetOther at \(step) \(side)") }
        if actions.contains(.pauseOther) != (step == .blocked) { problems.append("pauseOther at \(step) \(side)") }
        let resumes = step == .unblocked && !ended.contains(side.other)
        if actions.contains(.resumeOther) != resumes { problems.append("resumeOther at \(step) \(side)") }
        let closes = hasFailed || finished.count == 2
        if actions.contains(.close) != closes { problems.append("close at \(step) \(side)") }
        isClosed = closes
      }
      if state.isClosed != isClosed { problems.append("isClosed is \(state.isClosed)") }
    }
  }

  @Test func everyOrderUpToFiveEvents() {
    var sequences = 0
    func explore(_ state: RelayState, _ history: History, _ path: [String]) {
      sequences += 1
      if !history.problems.isEmpty {
        Issue.record("\(path.joined(separator: ", ")): \(history.problems)")
        return
      }
      guard path.count < 5 else { return }
      for (step, side) in Self.moves {
        var state = state
        var history = history
        let actions = step.apply(side, to: &state)
        history.note(step, side, actions, state)
        explore(state, history, path + ["\(step) \(side)"])
      }
    }
    explore(RelayState(), History(), [])
    #expect(sequences == 111_111)
  }

  @Test func aHalfClosedConnectionStaysUntilTheOtherHalfIsDone() {
    var state = RelayState()
    #expect(state.ended(.downstream) == .finishOther)
    #expect(state.finished(.upstream) == [])
    #expect(state.unblocked(.downstream) == .resumeOther)
    #expect(state.ended(.upstream) == .finishOther)
    #expect(state.finished(.downstream) == .close)
  }

  @Test func aResetPassesOnOnce() {
    var state = RelayState()
    #expect(state.failed(.upstream) == [.resetOther, .close])
    #expect(state.failed(.downstream) == [])
    #expect(state.unblocked(.downstream) == [])
  }
}
