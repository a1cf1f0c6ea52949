/// Monotonic time in nanoseconds, from a clock of the caller's choice.
public typealias NanoTime = UInt64

extension NanoTime {
  public static func seconds(_ count: UInt64) -> NanoTime { count &* 1_000_000_000 }
  public static func milliseconds(_ count: UInt64) -> NanoTime { count &* 1_000_000 }
}
