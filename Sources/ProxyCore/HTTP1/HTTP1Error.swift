/// Why a message was refused. The connection can't be used any more: where the next message begins isn't known.
public struct HTTP1Error: Error, Hashable, Sendable {
  /// What to answer a request with: 400, 414, 431, 501 or 505. Of a response always 502.
  public let status: Int
  public let reason: String

  public init(status: Int, reason: String) {
    self.status = status
    self.reason = reason
  }
}

/// Bounds of what a peer may send, in bytes if not said otherwise.
public struct HTTP1Limits: Sendable {
  /// The start line and all fields with their line ends.
  public var maximumHead = 64 << 10
  /// How many fields a head may have, and how many a trailer section.
  public var maximumFields = 200
  /// Without its line end.
  public var maximumStartLine = 16 << 10
  /// The line before a chunk with its extensions, without its line end.
  public var maximumChunkLine = 1 << 10
  /// A trailer section with its line ends.
  public var maximumTrailers = 16 << 10

  /// Empty lines before a request line (RFC 9112 §2.2).
  static let maximumEmptyLines = 4
  /// Names in a message's Connection fields: each of its fields is compared with each of them.
  static let maximumConnectionOptions = 32
  /// How far the bytes of chunk lines may exceed those of payloads: a body isn't made of overhead.
  static let maximumChunkOverhead = 16 << 10
  /// Storage above which a connection's head isn't kept for its next message.
  static let keptHead = 16 << 10

  public init() {}
}
