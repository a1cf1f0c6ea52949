import Discovery

/// Which of a node's meshed pods wait longer than they should, and what people have been told of them. Pure: times are
/// monotonic nanoseconds.
struct PodTroubles: Sendable {
  /// So long a pod may wait before anybody is told.
  static let patience: UInt64 = 10_000_000_000
  /// Between two words on the same pod, whatever its reason.
  static let quiet: UInt64 = 60_000_000_000
  /// After which what still holds is told again: Events don't stay for ever.
  static let again: UInt64 = 1_800_000_000_000

  private struct Trouble {
    let since: UInt64
    /// nil as a reason: nobody could be told.
    var told: (reason: String?, at: UInt64)?
  }

  private var troubles: [String: Trouble] = [:]

  /// - Parameter waiting: every pod that isn't carried, by its workload's id, and why.
  /// - Returns: what is to be told now, at most what one report takes.
  mutating func due(_ waiting: [String: String], now: UInt64) -> [PodProblem] {
    troubles = troubles.filter { waiting[$0.key] != nil }
    var due: [PodProblem] = []
    for (id, reason) in waiting.sorted(by: { $0.key < $1.key }) {
      let trouble = troubles[id, default: Trouble(since: now)]
      troubles[id] = trouble
      guard now >= trouble.since + Self.patience, due.count < PodProblem.bound else { continue }
      if let told = trouble.told, now < told.at + (told.reason == reason ? Self.again : Self.quiet) { continue }
      due.append(PodProblem(workload: id, reason: reason))
    }
    return due
  }

  /// The control plane has taken it.
  mutating func told(_ reports: [PodProblem], now: UInt64) {
    for report in reports { troubles[report.workload]?.told = (report.reason, now) }
  }

  /// It hasn't: they are told when it has been quiet for a while.
  mutating func failed(_ reports: [PodProblem], now: UInt64) {
    for report in reports { troubles[report.workload]?.told = (nil, now) }
  }
}
