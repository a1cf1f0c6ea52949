/// The bound of every time in a route or a policy: milliseconds in 32 bits.
public enum TrafficTime {
  /// Milliseconds: 1193 h (49 days), the most whole hours that fit. GEP-2257 writes up to 99999h99999m99999s99999ms;
  /// what is longer is refused.
  public static let maximum: UInt32 = 1193 * 3_600_000
}
