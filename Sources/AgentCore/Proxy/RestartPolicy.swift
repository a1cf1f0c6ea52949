/// How long to wait before a proxy that died is started again: at once, and longer only where it dies repeatedly.
/// Pure: the time is passed in (nanoseconds, monotonic).
struct RestartPolicy: Sendable {
  static let window: UInt64 = 5_000_000_000
  static let delays: [UInt64] = [0, 50_000_000, 200_000_000, 1_000_000_000, 5_000_000_000]

  private var quickDeaths = 0
  private(set) var restarts = 0

  /// The delay in nanoseconds after a proxy that was started at `started` died.
  mutating func died(now: UInt64, started: UInt64) -> UInt64 {
    restarts += 1
    quickDeaths = now - started < Self.window ? quickDeaths + 1 : 0
    return quickDeaths == 0 ? 0 : Self.delays[min(quickDeaths - 1, Self.delays.count - 1)]
  }
}
