/// A lab's name: 1 to 12 bytes of `a-z` and `0-9`. No hyphen, so that `weft-NAME-…` belongs to one lab only.
public struct LabName: Hashable, Sendable, Comparable, CustomStringConvertible {
  public let description: String

  public init?(_ text: String) {
    guard (1...12).contains(text.utf8.count),
      text.utf8.allSatisfy({
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
      })
    else { return nil }
    description = text
  }

  public static func < (left: Self, right: Self) -> Bool { left.description < right.description }
}
