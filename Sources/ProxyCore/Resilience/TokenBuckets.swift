import MeshModel

/// Token buckets by key, exact for the node: its workers share them without a lock.
///
/// Each bucket is one atomic word, by the generic cell rate algorithm (ITU-T I.371): 24 bits of the key's hash and the
/// time at which the bucket would be full again (40 bits, in 64ths of a token's time). A request moves that time on by
/// one token, by compare and exchange, so that two workers can't spend the same token. Dividing the rate among the
/// workers instead would be wrong as soon as a client's connections lie unevenly.
///
/// The table has a fixed size and open addressing. A bucket that is full again is the same as none, so that its place
/// is free for another key and nothing is lost. Only where all 16 places of a key hold buckets in use does the fullest
/// of them go. Two keys share a bucket where their 24 bits agree within these 16 places: by chance once in a million,
/// and not by intent, since the hash has a secret seed. Two workers who meet a new key in the same nanoseconds may put
/// it into two places; the second is found by nobody then, so that at most one token a worker is given too many.
public final class TokenBuckets: Sendable {
  public enum Decision: Sendable, Hashable {
    case allowed
    /// A token is there after so many nanoseconds; nil: never, the limit is 0.
    case refused(retryAfter: NanoTime?)
  }

  public let limit: RateLimit
  private static let unitsPerToken: UInt64 = 64
  private static let timeMask: UInt64 = 1 << 40 - 1
  private static let probes = 16

  private let cells: AtomicCells
  private let seed: UInt64
  private let start: NanoTime
  private let rate: UInt64
  /// Nanoseconds in which `rate` tokens flow in.
  private let interval: UInt64
  /// In units: how far ahead of now a bucket's time may be.
  private let tolerance: UInt64
  /// A cell with 0 in it; the units at which the table was last swept.
  private let lastSweep = AtomicCells(count: 1)

  /// - Parameters:
  ///   - keys: how many are told apart at once; rounded up to a power of two, at most 2^20. 10,000 take 128 KiB.
  ///   - seed: random and secret.
  public init(_ limit: RateLimit, keys: Int = 10_000, seed: UInt64, now: NanoTime) {
    self.limit = limit
    self.seed = seed
    start = now
    interval = .milliseconds(UInt64(max(1, limit.interval)))
    // A token takes 1 ns at least.
    rate = min(UInt64(limit.requests), interval)
    // A quarter of the time's range, so that ahead and past are told apart.
    tolerance = Self.unitsPerToken * min(UInt64(max(1, limit.burst)), 1 << 28)
    var size = Self.probes
    while size < min(max(keys, 1), 1 << 20) { size *= 2 }
    cells = AtomicCells(count: size)
  }

  /// The key of a request: the caller's hash of the parts that the limit names; 0 where it names none.
  public func take(_ key: UInt64, now: NanoTime) -> Decision {
    guard rate > 0 else { return .refused(retryAfter: nil) }
    let units = self.units(at: now)
    sweepIfDue(units)
    let hash = StableHash.mix(key ^ seed)
    // Never 0, which an unused cell has.
    let tag = max(1, hash >> 40)
    while true {
      let place = find(tag, hash: hash, units: units)
      let cell = cells.load(place)
      let isOwn = cell >> 40 == tag
      let ahead = isOwn ? ahead(cell, units) : 0
      guard ahead + Self.unitsPerToken <= tolerance else {
        return .refused(retryAfter: nanoseconds(ahead + Self.unitsPerToken - tolerance))
      }
      let full = (units + ahead + Self.unitsPerToken) & Self.timeMask
      // Whoever found the place free may have lost it to another key since; then look again.
      guard isOwn || isFree(cell, units) || isVictim(cell, place, hash: hash, units: units) else { continue }
      if cells.exchange(place, from: cell, to: tag << 40 | full) { return .allowed }
    }
  }

  // MARK: Places

  /// The key's place; else the first free one; else the one that is nearest to full.
  private func find(_ tag: UInt64, hash: UInt64, units: UInt64) -> Int {
    var free: Int?
    var fullest = 0
    var least = UInt64.max
    for probe in 0..<Self.probes {
      let place = place(hash, probe)
      let cell = cells.load(place)
      if cell >> 40 == tag { return place }
      if free == nil, isFree(cell, units) { free = place }
      let ahead = ahead(cell, units)
      if ahead < least {
        least = ahead
        fullest = place
      }
    }
    return free ?? fullest
  }

  private func isVictim(_ cell: UInt64, _ place: Int, hash: UInt64, units: UInt64) -> Bool {
    let own = ahead(cell, units)
    for probe in 0..<Self.probes {
      let other = self.place(hash, probe)
      if other != place, ahead(cells.load(other), units) < own { return false }
    }
    return true
  }

  private func place(_ hash: UInt64, _ probe: Int) -> Int {
    Int(truncatingIfNeeded: hash &+ UInt64(probe)) & (cells.count - 1)
  }

  private func isFree(_ cell: UInt64, _ units: UInt64) -> Bool { cell == 0 || ahead(cell, units) == 0 }

  /// Units from now until the bucket is full; 0 once it is.
  private func ahead(_ cell: UInt64, _ units: UInt64) -> UInt64 {
    guard cell != 0 else { return 0 }
    let difference = (cell &- units) & Self.timeMask
    return difference <= Self.timeMask / 2 ? difference : 0
  }

  // MARK: Time

  private func units(at now: NanoTime) -> UInt64 {
    // Within four years, so that the quotient fits: at most 64 units are in a nanosecond.
    let elapsed = min(now > start ? now - start : 0, 1 << 57)
    return interval.dividingFullWidth(elapsed.multipliedFullWidth(by: rate * Self.unitsPerToken)).quotient
  }

  private func nanoseconds(_ units: UInt64) -> NanoTime {
    let product = units.multipliedFullWidth(by: interval)
    let divisor = rate * Self.unitsPerToken
    guard product.high < divisor else { return .max }
    let (quotient, remainder) = divisor.dividingFullWidth((product.high, product.low))
    return remainder == 0 ? quotient : quotient &+ 1
  }

  /// Times wrap after 2^40 units. Each quarter of that one worker removes what has become full, before it can look like
  /// the future; after a silence of half of it everything has.
  private func sweepIfDue(_ units: UInt64) {
    let last = lastSweep.load(0)
    guard units > last, units - last >= 1 << 38, lastSweep.exchange(0, from: last, to: units) else { return }
    let isLongAgo = units - last >= 1 << 39
    for place in 0..<cells.count {
      let cell = cells.load(place)
      if cell != 0, isLongAgo || ahead(cell, units) == 0 { _ = cells.exchange(place, from: cell, to: 0) }
    }
  }
}
