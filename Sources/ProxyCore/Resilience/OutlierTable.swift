import MeshModel
import Synchronization

/// The state of an `OutlierBoard`: a hash table of fixed size with open addressing.
///
/// A place belongs to an endpoint while any `EndpointSet` holds it. Its first word has 48 bits of the address's hash and
/// the number of holders; the last one to leave clears the place before it gives it free, so that no worker, however
/// late, touches a stranger's. Two endpoints share a place where their 48 bits agree within 64 places: by chance once in
/// 10^9 tables. Two workers that meet a new endpoint in the same nanoseconds as another one's place becomes free may put
/// it into two places, and judge it apart until the next list, where both take the first.
///
/// What is counted is read and reset word by word: a request that ends meanwhile may be lost, or count for the next
/// interval. The number of ejected is exact in one direction: it is raised before an ejection, and lowered after a return.
final class OutlierTable: Sendable {
  /// Of an interval. Failures are among the requests.
  struct Counts {
    var requests: UInt64
    var failures: UInt64
    /// Nanoseconds, of the successes.
    var latencySum: UInt64
  }

  private enum Word {
    static let owner = 0
    /// Failures since the last success.
    static let consecutive = 1
    /// Requests and failures of this interval, 32 bits each.
    static let counts = 2
    static let latencySum = 3
    /// 0: not ejected.
    static let ejectedUntil = 4
    /// How often lately: goes up by each ejection, down by each interval without one.
    static let ejections = 5
    /// A cache line's: workers that use different endpoints don't wait for each other.
    static let count = 8
  }

  /// Half of the places are free where all are as many as they may be: a run of 64 that aren't is one in 100,000.
  private static let probes = 64
  /// An owner without a hash: the place is being cleared.
  private static let clearing: UInt64 = 1
  private static let mostHolders: UInt64 = 1 << 16 - 1
  /// An interval's requests and latency, so that neither overflows: further ones say no more than these.
  private static let mostRequests: UInt64 = 1 << 24
  private static let longestLatency = NanoTime.seconds(1000)

  /// Goes on with each ejection and return.
  let generation = Atomic<UInt64>(0)
  /// How many are ejected, or about to be.
  let ejected = Atomic<Int>(0)
  /// 0: before the first list.
  private let end = Atomic<NanoTime>(0)
  private let cells: AtomicCells
  private let mask: Int

  init(endpoints: Int) {
    var places = 2048
    while places < 2 * min(endpoints, 32_768) { places *= 2 }
    mask = places - 1
    cells = AtomicCells(count: places * Word.count)
  }

  // MARK: Places

  /// The place of an endpoint, which `leave` gives back; nil: all are taken.
  func join(_ hash: UInt64) -> Int? {
    // Never 0, which free and clearing places have.
    let tag = max(1, hash >> 16)
    while true {
      var free: Int?
      var own: Int?
      for probe in 0..<Self.probes where own == nil {
        let place = Int(truncatingIfNeeded: hash &+ UInt64(probe)) & mask
        let owner = cells.load(cell(place, Word.owner))
        if owner >> 16 == tag { own = place } else if owner == 0 { free = free ?? place }
      }
      guard let place = own ?? free else { return nil }
      let owner = cells.load(cell(place, Word.owner))
      guard owner & Self.mostHolders < Self.mostHolders else { return nil }
      // Another worker may have taken it, or the last holder may have left; then look again.
      guard owner == 0 || owner >> 16 == tag else { continue }
      let new = owner == 0 ? tag << 16 | 1 : owner + 1
      if cells.handOver(cell(place, Word.owner), from: owner, to: new) { return place }
    }
  }

  func leave(_ place: Int) {
    let word = cell(place, Word.owner)
    while true {
      let owner = cells.load(word)
      let isLast = owner & Self.mostHolders == 1
      guard cells.handOver(word, from: owner, to: isLast ? Self.clearing : owner - 1) else { continue }
      guard isLast else { return }
      if cells.load(cell(place, Word.ejectedUntil)) != 0 { ejected.subtract(1, ordering: .relaxed) }
      for offset in Word.consecutive...Word.ejections { cells.store(0, at: cell(place, offset)) }
      _ = cells.handOver(word, from: Self.clearing, to: 0)
      return
    }
  }

  private func cell(_ place: Int, _ word: Int) -> Int { place * Word.count + word }

  // MARK: Requests

  /// Counts a request. The failures in a row.
  /// - Parameter isCounted: whether anybody asks for the interval's counts; without, a success after a success only reads.
  func record(_ place: Int, isSuccess: Bool, latency: NanoTime, isCounted: Bool) -> UInt64 {
    if isCounted, cells.load(cell(place, Word.counts)) >> 32 < Self.mostRequests {
      cells.add(isSuccess ? 1 << 32 : 1 << 32 | 1, at: cell(place, Word.counts))
      if isSuccess { cells.add(min(latency, Self.longestLatency), at: cell(place, Word.latencySum)) }
    }
    let consecutive = cell(place, Word.consecutive)
    guard isSuccess else { return cells.add(1, at: consecutive) }
    if cells.load(consecutive) != 0 { cells.store(0, at: consecutive) }
    return 0
  }

  func counts(_ place: Int) -> Counts {
    let counts = cells.load(cell(place, Word.counts))
    return Counts(
      requests: counts >> 32, failures: counts & (1 << 32 - 1), latencySum: cells.load(cell(place, Word.latencySum)))
  }

  func resetCounts(_ place: Int) {
    cells.store(0, at: cell(place, Word.counts))
    cells.store(0, at: cell(place, Word.latencySum))
  }

  // MARK: Intervals

  var intervalEnd: NanoTime { end.load(ordering: .relaxed) }

  /// With the first list.
  func beginIntervals(_ first: NanoTime) { _ = end.compareExchange(expected: 0, desired: first, ordering: .relaxed) }

  /// Whether the interval is over, and this worker the one that judges it.
  func endInterval(now: NanoTime, next: NanoTime) -> Bool {
    let due = intervalEnd
    return now >= due && end.compareExchange(expected: due, desired: next, ordering: .relaxed).exchanged
  }

  // MARK: Ejections

  /// Monotonic; nil: not ejected.
  func ejectedUntil(_ place: Int) -> NanoTime? {
    let until = cells.load(cell(place, Word.ejectedUntil))
    return until == 0 ? nil : until
  }

  func ejections(_ place: Int) -> UInt32 { UInt32(clamping: cells.load(cell(place, Word.ejections))) }

  /// - Parameter maximum: how many may be ejected at once.
  /// - Returns: false: it is ejected already, or as many as may be are.
  func eject(_ place: Int, _ detection: OutlierDetection, maximum: Int, now: NanoTime) -> Bool {
    guard ejectedUntil(place) == nil, reserve(maximum) else { return false }
    let longest = UInt64(max(detection.baseEjectionTime, detection.maximumEjectionTime))
    let time = min(UInt64(detection.baseEjectionTime) * (UInt64(ejections(place)) + 1), longest)
    guard cells.exchange(cell(place, Word.ejectedUntil), from: 0, to: now &+ .milliseconds(max(1, time))) else {
      ejected.subtract(1, ordering: .relaxed)
      return false
    }
    cells.add(1, at: cell(place, Word.ejections))
    cells.store(0, at: cell(place, Word.consecutive))
    generation.wrappingAdd(1, ordering: .releasing)
    return true
  }

  private func reserve(_ maximum: Int) -> Bool {
    var count = ejected.load(ordering: .relaxed)
    while count < maximum {
      let result = ejected.weakCompareExchange(expected: count, desired: count + 1, ordering: .relaxed)
      if result.exchanged { return true }
      count = result.original
    }
    return false
  }

  /// Ends an ejection, unless another worker has.
  /// - Parameter until: as `ejectedUntil` said.
  func endEjection(_ place: Int, from until: NanoTime) {
    // Before it is back: what still fails of the time before isn't held against it.
    cells.store(0, at: cell(place, Word.consecutive))
    resetCounts(place)
    guard cells.exchange(cell(place, Word.ejectedUntil), from: until, to: 0) else { return }
    ejected.subtract(1, ordering: .relaxed)
    generation.wrappingAdd(1, ordering: .releasing)
  }

  /// One fewer of those that make the next one longer.
  func forgetEjection(_ place: Int) {
    let old = cells.load(cell(place, Word.ejections))
    if old > 0 { _ = cells.exchange(cell(place, Word.ejections), from: old, to: old - 1) }
  }
}
