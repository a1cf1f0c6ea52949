/// Latencies in classes of a 16th of a power of two each, from 1 µs to 68 s; a percentile is right to 6.25 %. It
/// forgets: each time 4,096 samples are in it all counts are halved.
struct LatencyHistogram {
  private static let smallest: UInt64 = 1 << 10
  private static let octaves = 26
  private static let mostSamples: UInt32 = 4096

  private var counts = Array(repeating: UInt32(0), count: octaves * 16)
  private(set) var total: UInt32 = 0

  mutating func record(_ latency: NanoTime) {
    if total >= Self.mostSamples { halve() }
    counts[Self.index(of: latency)] += 1
    total += 1
  }

  /// The upper bound of the class in which the percentile lies; nil while empty.
  func percentile(_ percent: UInt32) -> NanoTime? {
    guard total > 0 else { return nil }
    let rank = max(1, (UInt64(total) * UInt64(min(percent, 100)) + 99) / 100)
    var sum: UInt64 = 0
    for index in counts.indices {
      sum += UInt64(counts[index])
      if sum >= rank { return Self.upperBound(of: index) }
    }
    return nil
  }

  private mutating func halve() {
    total = 0
    for index in counts.indices {
      counts[index] /= 2
      total += counts[index]
    }
  }

  private static func index(of latency: NanoTime) -> Int {
    guard latency >= smallest else { return 0 }
    let exponent = 63 - latency.leadingZeroBitCount
    let index = (exponent - 10) * 16 + Int(latency >> UInt64(exponent - 4) & 15)
    return min(index, octaves * 16 - 1)
  }

  private static func upperBound(of index: Int) -> NanoTime { UInt64(16 + index % 16 + 1) << UInt64(index / 16 + 6) }
}
