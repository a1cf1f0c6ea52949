import MeshModel

/// What outlier detection knows of an endpoint.
struct OutlierState {
  /// Failures since the last success.
  var consecutive: UInt32 = 0
  /// In this interval.
  var requests: UInt32 = 0
  var failures: UInt32 = 0
  /// Nanoseconds, of the successes.
  var latencySum: UInt64 = 0
  var ejectedUntil: NanoTime?
  /// How often lately: goes up by each ejection, down by each interval without one.
  var ejections: UInt32 = 0

  mutating func beginInterval() {
    requests = 0
    failures = 0
    latencySum = 0
  }
}

/// Ejection of endpoints that err more, or are slower, than the others. Each worker judges by its own requests and
/// holds to the maximum percentage itself.
extension EndpointSet {
  mutating func setOutlierDetection(_ detection: OutlierDetection?, now: NanoTime) {
    let old = outlierDetection
    outlierDetection = detection
    guard let detection else {
      for slot in slots.indices { slots[slot].outlier = OutlierState() }
      nextSweep = .max
      nextEvent = .max
      return
    }
    if old == nil || old?.interval != detection.interval { nextSweep = now &+ interval(of: detection) }
    // The bound holds for a shorter list too.
    while ejectedCount > maximumEjected {
      var first: Int?
      for slot in slots.indices {
        guard let until = slots[slot].outlier.ejectedUntil else { continue }
        if first.map({ until < slots[$0].outlier.ejectedUntil! }) ?? true { first = slot }
      }
      slots[first!].outlier.ejectedUntil = nil
    }
    scheduleNextEvent()
  }

  mutating func record(_ outcome: AttemptOutcome, latency: NanoTime, slot: Int, now: NanoTime) {
    guard let detection = outlierDetection, outcome != .abandoned else { return }
    if now >= nextEvent { advance(to: now) }
    if slots[slot].outlier.requests < .max { slots[slot].outlier.requests += 1 }
    if outcome == .success {
      slots[slot].outlier.consecutive = 0
      let (sum, overflow) = slots[slot].outlier.latencySum.addingReportingOverflow(latency)
      slots[slot].outlier.latencySum = overflow ? .max : sum
      return
    }
    if slots[slot].outlier.failures < .max { slots[slot].outlier.failures += 1 }
    if slots[slot].outlier.consecutive < .max { slots[slot].outlier.consecutive += 1 }
    guard detection.consecutiveErrors > 0, slots[slot].outlier.consecutive >= detection.consecutiveErrors,
      eject(slot, detection, now: now)
    else { return }
    scheduleNextEvent()
    rebuild()
  }

  /// Returns whose time is over, and ends the interval where that is.
  mutating func advance(to now: NanoTime) {
    guard let detection = outlierDetection else { return nextEvent = .max }
    for slot in slots.indices {
      guard let until = slots[slot].outlier.ejectedUntil, until <= now else { continue }
      slots[slot].outlier.ejectedUntil = nil
      slots[slot].outlier.consecutive = 0
      slots[slot].outlier.beginInterval()
    }
    if now >= nextSweep {
      sweep(detection, now: now)
      nextSweep = now &+ interval(of: detection)
    }
    scheduleNextEvent()
    rebuild()
  }

  // MARK: Sweep

  private mutating func sweep(_ detection: OutlierDetection, now: NanoTime) {
    for slot in slots.indices where slots[slot].outlier.ejectedUntil == nil && slots[slot].outlier.ejections > 0 {
      slots[slot].outlier.ejections -= 1
    }
    if detection.successRateDeviation > 0 { ejectBySuccessRate(detection, now: now) }
    if detection.latencyPercent > 0 { ejectByLatency(detection, now: now) }
    for slot in slots.indices { slots[slot].outlier.beginInterval() }
  }

  /// Fills `scratch`, in ascending order, with a value of each endpoint that had requests enough.
  private mutating func collect(_ detection: OutlierDetection, _ value: (OutlierState) -> Double?) {
    scratch.removeAll(keepingCapacity: true)
    for slot in slots.indices where slots[slot].index >= 0 && slots[slot].outlier.ejectedUntil == nil {
      let state = slots[slot].outlier
      guard state.requests >= max(1, detection.minimumRequests), let value = value(state) else { continue }
      scratch.append((value, Int32(slot)))
    }
    scratch.sort { $0.value < $1.value }
  }

  private mutating func ejectBySuccessRate(_ detection: OutlierDetection, now: NanoTime) {
    collect(detection) { Double($0.requests - $0.failures) / Double($0.requests) }
    guard scratch.count >= max(2, Int(detection.minimumEndpoints)) else { return }
    let count = Double(scratch.count)
    let mean = scratch.reduce(0) { $0 + $1.value } / count
    let variance = scratch.reduce(0) { $0 + ($1.value - mean) * ($1.value - mean) } / count
    let threshold = mean - variance.squareRoot() * Double(detection.successRateDeviation) / 1000
    for entry in scratch {
      guard entry.value < threshold, eject(Int(entry.slot), detection, now: now) else { break }
    }
  }

  private mutating func ejectByLatency(_ detection: OutlierDetection, now: NanoTime) {
    collect(detection) {
      $0.requests > $0.failures ? Double($0.latencySum) / Double($0.requests - $0.failures) : nil
    }
    let count = scratch.count
    guard count >= max(2, Int(detection.minimumEndpoints)) else { return }
    // From the slowest on.
    for position in stride(from: count - 1, through: 1, by: -1) {
      guard scratch[position].value > medianOfOthers(position) * Double(detection.latencyPercent) / 100,
        eject(Int(scratch[position].slot), detection, now: now)
      else { return }
    }
  }

  private func medianOfOthers(_ position: Int) -> Double {
    func other(_ rank: Int) -> Double { scratch[rank < position ? rank : rank + 1].value }
    let middle = (scratch.count - 1) / 2
    return scratch.count.isMultiple(of: 2) ? other(middle) : (other(middle - 1) + other(middle)) / 2
  }

  // MARK: Ejections

  private var ejectedCount: Int {
    slots.reduce(0) { $0 + ($1.index >= 0 && $1.outlier.ejectedUntil != nil ? 1 : 0) }
  }

  /// One at least where the Service has another and the percentage isn't 0: 10 % of three endpoints would be none.
  private var maximumEjected: Int {
    guard let percent = outlierDetection.map({ Int(min(100, $0.maximumEjectionPercent)) }), percent > 0
    else { return 0 }
    let members = slotOfEndpoint.reduce(0) { $0 + (slots[Int($1)].weight > 0 ? 1 : 0) }
    return max(members * percent / 100, members > 1 ? 1 : 0)
  }

  private mutating func eject(_ slot: Int, _ detection: OutlierDetection, now: NanoTime) -> Bool {
    guard slots[slot].index >= 0, slots[slot].outlier.ejectedUntil == nil, ejectedCount < maximumEjected
    else { return false }
    if slots[slot].outlier.ejections < .max { slots[slot].outlier.ejections += 1 }
    let longest = UInt64(max(detection.baseEjectionTime, detection.maximumEjectionTime))
    let time = min(UInt64(detection.baseEjectionTime) * UInt64(slots[slot].outlier.ejections), longest)
    slots[slot].outlier.ejectedUntil = now &+ .milliseconds(max(1, time))
    slots[slot].outlier.consecutive = 0
    return true
  }

  private mutating func scheduleNextEvent() {
    nextEvent = slots.reduce(nextSweep) { min($0, $1.outlier.ejectedUntil ?? .max) }
  }

  /// 1 ms at least.
  private func interval(of detection: OutlierDetection) -> NanoTime {
    .milliseconds(UInt64(max(1, detection.interval)))
  }
}
