/// Why an identity, a key or a certificate can't be made, read or accepted: a sentence that says what, where and
/// what to do. It never holds key material.
public struct IdentityError: Error, Hashable, CustomStringConvertible {
  public enum Kind: Hashable, Sendable {
    /// What was asked for or presented is malformed.
    case invalid
    /// What was asked for is not allowed to the one who asks.
    case denied
    /// Expired, or not valid yet.
    case expired
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
