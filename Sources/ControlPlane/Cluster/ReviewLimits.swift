import Crypto

/// Keeps callers with tokens from being a load for the API server: what was reviewed a moment ago is remembered, and new
/// reviews have a rate. Pure; times are seconds of any clock that doesn't go back.
struct ReviewLimits: Sendable {
  typealias Digest = SHA256.Digest

  /// Seconds that a review holds.
  static let lifetime = 30.0
  static let maximumEntries = 4096
  /// Reviews a second, and at once.
  static let rate = 100.0
  static let burst = 200.0

  private struct Entry: Sendable {
    var proof: TokenReview.Proof
    var ends: Double
  }

  private var entries: [Digest: Entry] = [:]
  private var credit = burst
  private var filled: Double?

  static func digest(_ token: String) -> Digest { SHA256.hash(data: Array(token.utf8)) }

  func known(_ digest: Digest, now: Double) -> TokenReview.Proof? {
    guard let entry = entries[digest], now < entry.ends else { return nil }
    return entry.proof
  }

  /// Whether one more review may be asked for now.
  mutating func admit(now: Double) -> Bool {
    credit = min(Self.burst, credit + max(0, now - (filled ?? now)) * Self.rate)
    filled = now
    guard credit >= 1 else { return false }
    credit -= 1
    return true
  }

  mutating func reviewed(_ digest: Digest, _ proof: TokenReview.Proof, now: Double) {
    if entries.count >= Self.maximumEntries { entries = entries.filter { now < $0.value.ends } }
    if entries.count >= Self.maximumEntries, let first = entries.min(by: { $0.value.ends < $1.value.ends }) {
      entries[first.key] = nil
    }
    entries[digest] = Entry(proof: proof, ends: now + Self.lifetime)
  }
}
