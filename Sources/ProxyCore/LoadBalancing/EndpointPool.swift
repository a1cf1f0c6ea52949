/// The endpoints of one locality rank, or all where localities don't count.
struct EndpointPool {
  /// Not draining, with a weight.
  var members = 0
  /// Of the members, those that are ready.
  var ready = 0
  /// Of the ready, those that aren't ejected.
  var healthy = 0
  /// Of 10,000 requests so many.
  var share: UInt32 = 0
  /// Too few are healthy: the ejected are used again.
  var isPanicking = false

  /// Indexes of the endpoints that may be chosen now.
  private(set) var usable: [Int32] = []
  /// Running sums of their weights; empty while all weigh the same.
  private var sums: [UInt64] = []
  private var firstWeight: UInt32 = 0
  /// Of round robin with equal weights.
  var cursor = 0

  var table: ConsistentTable?
  /// Endpoint indexes for the table's members.
  var tableIndexes: [Int32] = []

  var hasEqualWeights: Bool { sums.isEmpty }
  var totalWeight: UInt64 { sums.last ?? UInt64(firstWeight) * UInt64(usable.count) }

  /// Forgets everything but the table and the cursor, and keeps the storage.
  mutating func reset() {
    members = 0
    ready = 0
    healthy = 0
    share = 0
    isPanicking = false
    usable.removeAll(keepingCapacity: true)
    sums.removeAll(keepingCapacity: true)
  }

  mutating func append(_ index: Int, weight: UInt32) {
    if usable.isEmpty { firstWeight = weight }
    if sums.isEmpty, weight != firstWeight {
      for position in usable.indices { sums.append(UInt64(firstWeight) * UInt64(position + 1)) }
    }
    if !sums.isEmpty || weight != firstWeight { sums.append((sums.last ?? 0) + UInt64(weight)) }
    usable.append(Int32(index))
  }

  /// A position in `usable` by weight, other than `excluded`. There has to be one.
  func draw(_ draws: inout Draws, except excluded: Int? = nil) -> Int {
    guard let total = sums.last else {
      let position = Int(draws.below(UInt64(usable.count - (excluded == nil ? 0 : 1))))
      guard let excluded, position >= excluded else { return position }
      return position + 1
    }
    guard let excluded else { return position(ofWeight: draws.below(total)) }
    let start = excluded == 0 ? 0 : sums[excluded - 1]
    let width = sums[excluded] - start
    let drawn = draws.below(total - width)
    return position(ofWeight: drawn < start ? drawn : drawn + width)
  }

  /// The first position whose running sum lies above.
  private func position(ofWeight weight: UInt64) -> Int {
    var low = 0
    var high = sums.count - 1
    while low < high {
      let middle = (low + high) / 2
      if sums[middle] <= weight { low = middle + 1 } else { high = middle }
    }
    return low
  }
}

/// Envoy's priority levels: how traffic leaves a locality whose endpoints fail.
enum LocalityShares {
  /// Sets each pool's `share` and `isPanicking` by its counts.
  ///
  /// A pool takes its full part while `overprovisioning` x healthy / members is at least 1; what it can't take goes to
  /// the next. Where all together can't take everything, pools whose healthy part of the ready ones is below the
  /// threshold panic. An endpoint that isn't ready is never used, panic or not: unlike an ejection that isn't a guess.
  static func assign(_ pools: inout [EndpointPool], overprovisioning: UInt32, panicThreshold: UInt32) {
    var total: UInt64 = 0
    for index in pools.indices { total += availability(pools[index], overprovisioning) }
    let isShort = total < 10_000
    var isTotalPanic = isShort
    var ready = 0
    for index in pools.indices where pools[index].ready > 0 {
      pools[index].isPanicking = isShort && pools[index].healthy * 100 < pools[index].ready * Int(panicThreshold)
      if !pools[index].isPanicking { isTotalPanic = false }
      ready += pools[index].ready
    }
    guard ready > 0 else { return }
    var left: UInt64 = 10_000
    for index in pools.indices {
      let part: UInt64
      if isTotalPanic {
        part = UInt64(pools[index].ready) * 10_000 / UInt64(ready)
      } else {
        let available = availability(pools[index], overprovisioning)
        part = isShort ? (total == 0 ? 0 : available * 10_000 / total) : available
      }
      pools[index].share = UInt32(min(part, left))
      left -= UInt64(pools[index].share)
    }
    // What the divisions cut off goes to the nearest.
    guard left > 0, left < 10_000, let first = pools.firstIndex(where: { $0.share > 0 }) else { return }
    pools[first].share += UInt32(left)
  }

  /// Of 10,000.
  private static func availability(_ pool: EndpointPool, _ overprovisioning: UInt32) -> UInt64 {
    guard pool.members > 0 else { return 0 }
    let percent = UInt64(max(100, overprovisioning))
    return min(10_000, UInt64(pool.healthy) * percent * 100 / UInt64(pool.members))
  }
}
