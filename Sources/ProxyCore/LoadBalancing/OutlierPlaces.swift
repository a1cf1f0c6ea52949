import MeshModel

/// The endpoints of a list on a board: their places are held until this ends, and judged by the list's settings.
final class OutlierPlaces {
  let table: OutlierTable
  private let detection: OutlierDetection
  private let maximumEjected: Int
  private var places: [Int] = []
  /// Reused by the sweep.
  private var scratch: [(value: Double, place: Int)] = []

  /// - Parameter endpoints: those that the maximum percentage is of.
  init(_ table: OutlierTable, endpoints: Int, _ detection: OutlierDetection, now: NanoTime) {
    self.table = table
    self.detection = detection
    // One at least where the Service has another and the percentage isn't 0: 10 % of three endpoints would be none.
    let percent = Int(min(100, detection.maximumEjectionPercent))
    maximumEjected = percent == 0 ? 0 : max(endpoints * percent / 100, endpoints > 1 ? 1 : 0)
    table.beginIntervals(now &+ interval)
  }

  deinit { for place in places { table.leave(place) } }

  /// The endpoint's place; nil: the table is full.
  func join(_ address: SocketAddress) -> Int32? {
    guard let place = table.join(StableHash.hash(address)) else { return nil }
    places.append(place)
    return Int32(place)
  }

  /// When the interval ends, or an endpoint returns.
  var nextEvent: NanoTime { places.reduce(table.intervalEnd) { min($0, table.ejectedUntil($1) ?? .max) } }

  /// Whether it ejects the endpoint.
  func record(_ place: Int, isSuccess: Bool, latency: NanoTime, now: NanoTime) -> Bool {
    let consecutive = table.record(
      place, isSuccess: isSuccess, latency: latency,
      isCounted: detection.successRateDeviation > 0 || detection.latencyPercent > 0)
    return !isSuccess && detection.consecutiveErrors > 0 && consecutive >= detection.consecutiveErrors
      && eject(place, now: now)
  }

  /// Returns whose time is over, and ends the interval where that is and no other worker has.
  func advance(to now: NanoTime) {
    for place in places {
      if let until = table.ejectedUntil(place), until <= now { table.endEjection(place, from: until) }
    }
    guard table.endInterval(now: now, next: now &+ interval) else { return }
    for place in places where table.ejectedUntil(place) == nil { table.forgetEjection(place) }
    if detection.successRateDeviation > 0 { ejectBySuccessRate(now: now) }
    if detection.latencyPercent > 0 { ejectByLatency(now: now) }
    for place in places { table.resetCounts(place) }
  }

  /// The maximum holds for a shorter list too: those that would return first do. By the list's own ejections, since a
  /// worker that still has the old list holds those that are gone.
  func endEjectionsBeyondMaximum() {
    var ejected: [(until: NanoTime, place: Int)] = []
    for place in places {
      if let until = table.ejectedUntil(place) { ejected.append((until, place)) }
    }
    ejected.sort { $0.until < $1.until }
    for entry in ejected.dropLast(maximumEjected) { table.endEjection(entry.place, from: entry.until) }
  }

  private func eject(_ place: Int, now: NanoTime) -> Bool {
    table.eject(place, detection, maximum: maximumEjected, now: now)
  }

  /// 1 ms at least.
  private var interval: NanoTime { .milliseconds(UInt64(max(1, detection.interval))) }

  // MARK: Comparison

  /// Fills `scratch`, in ascending order, with a value of each endpoint that had requests enough.
  private func collect(_ value: (OutlierTable.Counts) -> Double?) {
    scratch.removeAll(keepingCapacity: true)
    for place in places where table.ejectedUntil(place) == nil {
      let counts = table.counts(place)
      guard counts.requests >= max(1, detection.minimumRequests), let value = value(counts) else { continue }
      scratch.append((value, place))
    }
    scratch.sort { $0.value < $1.value }
  }

  private func ejectBySuccessRate(now: NanoTime) {
    collect { Double($0.requests - $0.failures) / Double($0.requests) }
    guard scratch.count >= max(2, Int(detection.minimumEndpoints)) else { return }
    let count = Double(scratch.count)
    let mean = scratch.reduce(0) { $0 + $1.value } / count
    let variance = scratch.reduce(0) { $0 + ($1.value - mean) * ($1.value - mean) } / count
    let threshold = mean - variance.squareRoot() * Double(detection.successRateDeviation) / 1000
    for entry in scratch {
      guard entry.value < threshold, eject(entry.place, now: now) else { break }
    }
  }

  private func ejectByLatency(now: NanoTime) {
    collect { $0.requests > $0.failures ? Double($0.latencySum) / Double($0.requests - $0.failures) : nil }
    let count = scratch.count
    guard count >= max(2, Int(detection.minimumEndpoints)) else { return }
    // From the slowest on.
    for position in stride(from: count - 1, through: 1, by: -1) {
      guard scratch[position].value > medianOfOthers(position) * Double(detection.latencyPercent) / 100,
        eject(scratch[position].place, now: now)
      else { return }
    }
  }

  private func medianOfOthers(_ position: Int) -> Double {
    func other(_ rank: Int) -> Double { scratch[rank < position ? rank : rank + 1].value }
    let middle = (scratch.count - 1) / 2
    return scratch.count.isMultiple(of: 2) ? other(middle) : (other(middle - 1) + other(middle)) / 2
  }
}
