/// The name rules of Kubernetes objects.
public enum DNSName {
  /// An RFC 1123 label: 1 to 63 bytes of `[a-z0-9-]`, no `-` at either end.
  public static func isLabel(_ text: some StringProtocol) -> Bool {
    let bytes = text.utf8
    guard (1...63).contains(bytes.count), bytes.first != hyphen else { return false }
    var last = hyphen
    for byte in bytes {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), hyphen: last = byte
      default: return false
      }
    }
    return last != hyphen
  }

  /// Labels joined by dots; 1 to 253 bytes.
  public static func isSubdomain(_ text: some StringProtocol) -> Bool {
    guard (1...253).contains(text.utf8.count) else { return false }
    return text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { isLabel($0) }
  }

  private static let hyphen = UInt8(ascii: "-")
}
