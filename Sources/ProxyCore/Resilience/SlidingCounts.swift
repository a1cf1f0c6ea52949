/// Requests and retries in a window that slides by a tenth of its length. Shared by workers.
final class SlidingCounts: Sendable {
  struct Totals: Equatable {
    var requests: UInt64 = 0
    var retries: UInt64 = 0
  }

  private static let bucketCount: UInt64 = 10
  /// A cell holds the bucket's number (16 bits), requests and retries (24 bits each).
  private static let most: UInt64 = 1 << 24 - 1

  private let width: NanoTime
  private let cells = AtomicCells(count: Int(bucketCount))

  /// - Parameter window: nanoseconds; 10 at least.
  init(window: NanoTime) { width = max(1, window / Self.bucketCount) }

  func addRequest(at now: NanoTime) {
    change(now) { $0.requests < Self.most ? Totals(requests: $0.requests + 1, retries: $0.retries) : nil }
  }

  func addRetry(at now: NanoTime) {
    change(now) { $0.retries < Self.most ? Totals(requests: $0.requests, retries: $0.retries + 1) : nil }
  }

  /// Takes back what `addRetry` counted at that time.
  func removeRetry(at time: NanoTime) {
    change(time) { $0.retries > 0 ? Totals(requests: $0.requests, retries: $0.retries - 1) : nil }
  }

  /// - Parameter tenths: of the window, the latest ones; 1 to 10.
  func totals(at now: NanoTime, tenths: UInt64 = 10) -> Totals {
    let current = now / width
    var totals = Totals()
    for age in 0..<min(tenths, current + 1) {
      let number = current - age
      let cell = cells.load(Int(number % Self.bucketCount))
      guard cell >> 48 == Self.tag(number) else { continue }
      totals.requests += cell >> 24 & Self.most
      totals.retries += cell & Self.most
    }
    return totals
  }

  private func change(_ now: NanoTime, _ body: (Totals) -> Totals?) {
    let number = now / width
    let tag = Self.tag(number)
    let index = Int(number % Self.bucketCount)
    while true {
      let cell = cells.load(index)
      var totals = Totals()
      if cell >> 48 == tag { totals = Totals(requests: cell >> 24 & Self.most, retries: cell & Self.most) }
      guard let new = body(totals) else { return }
      if cells.exchange(index, from: cell, to: tag << 48 | new.requests << 24 | new.retries) { return }
    }
  }

  /// Never 0, which an unused cell has. Comes again after 65,535 buckets: after a silence of exactly so long an old
  /// bucket would count for a tenth of the window.
  private static func tag(_ number: UInt64) -> UInt64 { number % 65_535 + 1 }
}
