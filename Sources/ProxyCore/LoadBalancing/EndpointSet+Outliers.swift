import MeshModel

/// Ejection of endpoints that err more, or are slower, than the others, by the requests of all sets on the board.
extension EndpointSet {
  /// After a new list. Its places are taken before those of the old one are given back, so that what stays keeps its
  /// state.
  mutating func setOutlierDetection(_ detection: OutlierDetection?, _ board: OutlierBoard?, now: NanoTime) {
    let own = board == nil && self.board == nil && detection == outlierDetection ? outliers?.table : nil
    self.board = board
    outlierDetection = detection
    guard let detection else {
      outliers = nil
      for slot in slots.indices { slots[slot].place = -1 }
      return notice()
    }
    let places = OutlierPlaces(
      board?.table(for: endpoints.count) ?? own ?? OutlierTable(endpoints: endpoints.count),
      endpoints: slotOfEndpoint.reduce(0) { $0 + (slots[Int($1)].weight > 0 ? 1 : 0) }, detection, now: now)
    for slot in slotOfEndpoint { slots[Int(slot)].place = places.join(slots[Int(slot)].address) ?? -1 }
    outliers = places
    // There may be room now.
    for slot in slotOfEndpoint where slots[Int(slot)].place < 0 {
      slots[Int(slot)].place = places.join(slots[Int(slot)].address) ?? -1
    }
    places.endEjectionsBeyondMaximum()
    notice()
  }

  mutating func record(_ outcome: AttemptOutcome, latency: NanoTime, slot: Int, now: NanoTime) {
    guard let outliers, outcome != .abandoned else { return }
    if now >= nextEvent { advance(to: now) }
    let place = Int(slots[slot].place)
    if place >= 0, outliers.record(place, isSuccess: outcome == .success, latency: latency, now: now) { notice() }
  }

  /// Takes what time and other workers have changed since the last time, as each `choose` does.
  public mutating func catchUp(now: NanoTime) {
    if now >= nextEvent { return advance(to: now) }
    let generation = outliers?.table.generation.load(ordering: .relaxed)
    if let generation, generation != noticedGeneration { notice() }
  }

  private mutating func advance(to now: NanoTime) {
    outliers?.advance(to: now)
    notice()
  }

  /// Makes the pools anew, with the ejections as they are.
  private mutating func notice() {
    nextEvent = .max
    if let outliers {
      // Before the ejections are read: what comes later is noticed the next time.
      noticedGeneration = outliers.table.generation.load(ordering: .acquiring)
      nextEvent = outliers.nextEvent
    }
    rebuild()
  }

  /// Monotonic; nil: not ejected.
  func ejectedUntil(_ slot: Int) -> NanoTime? {
    slots[slot].place < 0 ? nil : outliers?.table.ejectedUntil(Int(slots[slot].place))
  }
}
