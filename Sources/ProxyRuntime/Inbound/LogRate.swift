import ProxyCore

/// How many lines of one kind are written: a peer that makes mistakes as fast as it can must not fill the log, nor the
/// mailbox that other lines go through.
struct LogRate {
  private let perSecond: Int
  private var left: Int
  private var windowEnds: NanoTime = 0
  private var suppressed = 0

  init(perSecond: Int = 20) {
    self.perSecond = perSecond
    left = perSecond
  }

  /// Whether a line may be written now, and how many before it weren't; nil: not now.
  mutating func allow(now: NanoTime) -> Int? {
    if now >= windowEnds {
      windowEnds = now + .seconds(1)
      left = perSecond
    }
    guard left > 0 else {
      suppressed += 1
      return nil
    }
    left -= 1
    defer { suppressed = 0 }
    return suppressed
  }
}
