/// Which of a port's connections goes where there is no room for one more: that which has been idle for the longest.
/// Anybody can open them, so one is idle until a whole request has come, whatever came before: else those that ask slowly
/// would keep everybody out.
struct ConnectionBound<ID: Hashable> {
  enum Verdict: Equatable {
    case admitted
    /// That one has to be closed, and doesn't count any more.
    case inPlaceOf(ID)
    /// All others wait for an answer.
    case refused
  }

  private let maximum: Int
  /// When each was last of use, in steps: many come within one tick of the loop, all at its time.
  private var idle: [ID: UInt64] = [:]
  private var answering: Set<ID> = []
  private var step: UInt64 = 0

  init(maximum: Int) { self.maximum = maximum }

  mutating func admit(_ id: ID) -> Verdict {
    var verdict = Verdict.admitted
    if idle.count + answering.count >= maximum {
      guard let oldest = idle.min(by: { $0.value < $1.value })?.key else { return .refused }
      idle[oldest] = nil
      verdict = .inPlaceOf(oldest)
    }
    note(id)
    return verdict
  }

  /// A request has begun.
  mutating func touch(_ id: ID) { if idle[id] != nil { note(id) } }

  /// A whole request has come.
  mutating func begin(_ id: ID) { if idle.removeValue(forKey: id) != nil { answering.insert(id) } }

  /// It has its answer.
  mutating func end(_ id: ID) { if answering.remove(id) != nil { note(id) } }

  mutating func remove(_ id: ID) {
    idle[id] = nil
    answering.remove(id)
  }

  private mutating func note(_ id: ID) {
    step += 1
    idle[id] = step
  }
}
