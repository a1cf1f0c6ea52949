/// Why discovery can't go on: a sentence that says what, where and what to do.
public struct DiscoveryError: Error, Hashable, CustomStringConvertible {
  public enum Kind: Hashable, Sendable {
    /// The other side can't be reached, or went away.
    case unreachable
    /// The other side is not who it should be, or says that this side isn't.
    case refused
    /// Malformed or over a bound.
    case invalid
    /// What was saved is damaged.
    case damaged
    /// The file system said no; the value is errno (`ENOSPC` on a full disk).
    case file(Int32)
  }

  public let kind: Kind
  public let description: String

  public init(_ kind: Kind, _ description: String) {
    self.kind = kind
    self.description = description
  }
}

/// Bounds of the protocol, kept by both sides.
public enum DiscoveryLimits {
  /// Bytes of one resource.
  public static let resourceBytes = 1024 * 1024
  /// Bytes of a resource's name.
  public static let nameBytes = 512
  /// Bytes of one response; more resources are split over several.
  public static let responseBytes = 4 * 1024 * 1024
  /// Bytes that a response is filled up to, one resource at least: with a hundred nodes that are told everything at once, what
  /// is on its way is as many responses, several times over.
  public static let filledBytes = 512 * 1024
  /// Bytes of one request: the versions of everything a node holds, when it resumes.
  public static let requestBytes = 64 * 1024 * 1024
  /// Resources of one type.
  public static let resourcesPerType = 1_000_000
  /// Types subscribed to on one stream.
  public static let typesPerStream = 32
  /// Responses of one type that were sent and not answered yet.
  public static let unansweredResponses = 8
}
