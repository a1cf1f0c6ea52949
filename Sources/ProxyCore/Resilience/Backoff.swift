import MeshModel

/// Exponential backoff with full jitter: anything between 0 and the bound, which doubles with each retry.
public enum Backoff {
  /// Nanoseconds.
  /// - Parameter retry: 0 for the first one.
  public static func bound(_ policy: RetryPolicy, retry: Int) -> NanoTime {
    let most = UInt64(max(policy.backoff, policy.maximumBackoff))
    let doubled = UInt64(policy.backoff) << UInt64(min(max(retry, 0), 31))
    return .milliseconds(min(doubled, most))
  }

  public static func delay(
    _ policy: RetryPolicy, retry: Int, random: inout some RandomNumberGenerator
  ) -> NanoTime {
    NanoTime.random(in: 0...bound(policy, retry: retry), using: &random)
  }
}
