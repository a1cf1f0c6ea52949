import MeshModel

extension EndpointSet {
  /// The endpoint of the next try; nil where none may be used ("no healthy upstream"). Allocates nothing.
  ///
  /// - Parameters:
  ///   - hash: of the key, for ring hash and Maglev; nil there: by chance.
  ///   - tried: addresses that this request has met already, avoided while there is any other.
  public mutating func choose(
    hash: UInt64? = nil, excluding tried: [SocketAddress] = [], now: NanoTime,
    random: inout some RandomNumberGenerator
  ) -> Int? {
    choose(hash: hash, excluding: tried, now: now, seed: random.next())
  }

  /// - Parameter seed: 64 random bits.
  public mutating func choose(
    hash: UInt64?, excluding tried: [SocketAddress], now: NanoTime, seed: UInt64
  ) -> Int? {
    catchUp(now: now)
    var draws = Draws(seed: seed)
    var key: UInt64?
    switch policy.algorithm {
    case .ringHash, .maglev: key = hash.map(StableHash.mix)
    default: break
    }
    // A key stays in its locality as long as the shares do.
    var shareDraws = key.map { Draws(seed: ~$0) } ?? draws
    _ = draws.next()
    guard let pool = drawPool(&shareDraws) else { return nil }
    if let index = pick(from: pool, key: key, excluding: tried, now: now, &draws) { return index }
    guard !tried.isEmpty else { return nil }
    for other in pools.indices where other != pool && !pools[other].usable.isEmpty {
      if let index = pick(from: other, key: key, excluding: tried, now: now, &draws) { return index }
    }
    return pick(from: pool, key: key, excluding: [], now: now, &draws)
  }

  private func drawPool(_ draws: inout Draws) -> Int? {
    var drawn = UInt32(draws.below(10_000))
    for index in pools.indices {
      if drawn < pools[index].share { return pools[index].usable.isEmpty ? nil : index }
      drawn -= pools[index].share
    }
    return nil
  }

  /// nil: all usable ones of that pool have been tried.
  private mutating func pick(
    from pool: Int, key: UInt64?, excluding tried: [SocketAddress], now: NanoTime, _ draws: inout Draws
  ) -> Int? {
    switch policy.algorithm {
    case .roundRobin: return nextInTurn(pool, excluding: tried, now: now)
    case .random: break
    case .leastRequest, .peakEWMA: return betterOfTwo(pool, excluding: tried, now: now, &draws)
    case .ringHash, .maglev:
      if let key { return hashed(pool, key: key, excluding: tried) }
    }
    return draw(pool, except: nil, excluding: tried, now: now, &draws).map { Int(pools[pool].usable[$0]) }
  }

  // MARK: Algorithms

  /// Smooth weighted round robin, as in nginx: weights 5, 1, 1 give a a b a c a a. O(endpoints) with different weights.
  private mutating func nextInTurn(_ pool: Int, excluding tried: [SocketAddress], now: NanoTime) -> Int? {
    let count = pools[pool].usable.count
    if pools[pool].hasEqualWeights, now >= slowStartEnd {
      for _ in 0..<count {
        pools[pool].cursor = (pools[pool].cursor + 1) % count
        let index = Int(pools[pool].usable[pools[pool].cursor])
        if !isTried(index, tried) { return index }
      }
      return nil
    }
    var best: Int?
    var bestSlot = 0
    var total: Int64 = 0
    for position in 0..<count {
      let index = Int(pools[pool].usable[position])
      if isTried(index, tried) { continue }
      let slot = Int(slotOfEndpoint[index])
      let weight = Int64(Double(slots[slot].weight) * 1000 * slowStartFactor(slot, now: now))
      slots[slot].credit += weight
      total += weight
      if best == nil || slots[slot].credit > slots[bestSlot].credit {
        best = index
        bestSlot = slot
      }
    }
    if best != nil { slots[bestSlot].credit -= total }
    return best
  }

  private mutating func betterOfTwo(
    _ pool: Int, excluding tried: [SocketAddress], now: NanoTime, _ draws: inout Draws
  ) -> Int? {
    guard let firstPosition = draw(pool, except: nil, excluding: tried, now: now, &draws) else { return nil }
    let first = Int(pools[pool].usable[firstPosition])
    guard pools[pool].usable.count > 1,
      let secondPosition = draw(pool, except: firstPosition, excluding: tried, now: now, &draws)
    else { return first }
    let second = Int(pools[pool].usable[secondPosition])
    return cost(of: second, pool, now: now) < cost(of: first, pool, now: now) ? second : first
  }

  /// The draw gives each its weight already; the cost only weighs what is in flight.
  private func cost(of index: Int, _ pool: Int, now: NanoTime) -> Double {
    let slot = Int(slotOfEndpoint[index])
    let meanWeight = Double(pools[pool].totalWeight) / Double(pools[pool].usable.count)
    let weight = Double(slots[slot].weight) * slowStartFactor(slot, now: now)
    let load = Double(slots[slot].outstanding) * meanWeight / weight
    guard policy.algorithm == .peakEWMA else { return load }
    // Nothing known: the first try is free, the next ones wait for its answer.
    guard slots[slot].latency.hasSample else { return load == 0 ? 0 : 1e18 + load }
    return slots[slot].latency.value(at: now) * (load + 1)
  }

  private func hashed(_ pool: Int, key: UInt64, excluding tried: [SocketAddress]) -> Int? {
    guard let table = pools[pool].table else { return nil }
    for step in 0..<min(table.count, 64) {
      let index = Int(pools[pool].tableIndexes[table.member(for: key, step: step)])
      if isUsable[index], !isTried(index, tried) { return index }
    }
    // Few of many can be used: any, the same for the key.
    let usable = pools[pool].usable
    let start = Int(key % UInt64(usable.count))
    for offset in usable.indices {
      let index = Int(usable[(start + offset) % usable.count])
      if !isTried(index, tried) { return index }
    }
    return nil
  }

  // MARK: Draws

  /// A position in the pool's `usable` by weight and slow start; nil where all others are excluded.
  private func draw(
    _ pool: Int, except: Int?, excluding tried: [SocketAddress], now: NanoTime, _ draws: inout Draws
  ) -> Int? {
    let isSlow = now < slowStartEnd
    for _ in 0..<32 {
      let position = pools[pool].draw(&draws, except: except)
      let index = Int(pools[pool].usable[position])
      if isTried(index, tried) { continue }
      // Rejection gives each endpoint its weight times its factor without sums that change with time.
      if isSlow, draws.unit() >= slowStartFactor(Int(slotOfEndpoint[index]), now: now) { continue }
      return position
    }
    let count = pools[pool].usable.count
    let start = pools[pool].draw(&draws, except: except)
    for offset in 0..<count {
      let position = (start + offset) % count
      if position != except, !isTried(Int(pools[pool].usable[position]), tried) { return position }
    }
    return nil
  }

  private func isTried(_ index: Int, _ tried: [SocketAddress]) -> Bool {
    !tried.isEmpty && tried.contains(slots[Int(slotOfEndpoint[index])].address)
  }

  /// 0.1 to 1, linear in the time since the endpoint became ready.
  private func slowStartFactor(_ slot: Int, now: NanoTime) -> Double {
    guard now < slowStartEnd, let since = slots[slot].slowSince else { return 1 }
    let duration = Double(NanoTime.milliseconds(UInt64(policy.slowStart)))
    let elapsed = now > since ? Double(now - since) : 0
    return min(1, 0.1 + 0.9 * elapsed / duration)
  }
}
