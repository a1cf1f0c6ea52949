import MeshModel

/// A name as it stands on the wire (RFC 1035 §3.1), uncompressed and in lower case: each label after its
/// length, then a zero. At most 255 bytes. Labels may hold any byte, dots too, so it's never split as text.
struct DNSWireName: Hashable, Sendable {
  private(set) var bytes: [UInt8]
  private(set) var labelCount: Int

  /// Reads the name at `offset`, and moves `offset` behind it.
  init(reading message: UnsafeRawBufferPointer, at offset: inout Int) throws(DNSFormatError) {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(64)
    var labelCount = 0
    try Self.walk(message, at: &offset) { range in
      bytes.append(message[range.lowerBound])
      for index in range.dropFirst() { bytes.append(message[index].dnsLowercased) }
      labelCount += 1
    }
    bytes.append(0)
    self.bytes = bytes
    self.labelCount = labelCount
  }

  /// The name of a text of labels joined by dots, one dot at the end allowed; nil where it isn't one.
  init?(_ text: some StringProtocol) {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.utf8.count + 2)
    labelCount = 0
    for label in text.split(separator: ".", omittingEmptySubsequences: false) {
      if label.isEmpty, label.endIndex == text.endIndex, labelCount > 0 { break }
      guard (1...63).contains(label.utf8.count) else { return nil }
      bytes.append(UInt8(label.utf8.count))
      for byte in label.utf8 { bytes.append(byte.dnsLowercased) }
      labelCount += 1
    }
    bytes.append(0)
    guard bytes.count <= DNSLimits.name else { return nil }
    self.bytes = bytes
  }

  /// Moves `offset` behind the name that stands there, after the same checks as reading it.
  static func skip(_ message: UnsafeRawBufferPointer, at offset: inout Int) throws(DNSFormatError) {
    try walk(message, at: &offset) { _ in }
  }

  /// Where the label's bytes stand, its length not included.
  func range(ofLabel index: Int) -> Range<Int> {
    let start = offset(ofLabel: index)
    return start + 1..<start + 1 + Int(bytes[start])
  }

  /// Where the label's length stands; for `labelCount`, where the final zero stands.
  func offset(ofLabel index: Int) -> Int {
    var position = 0
    for _ in 0..<index { position += 1 + Int(bytes[position]) }
    return position
  }

  /// The label where it can be part of a Kubernetes object's name, else nil.
  func objectName(ofLabel index: Int) -> String? {
    let text = String(decoding: bytes[range(ofLabel: index)], as: UTF8.self)
    return DNSName.isLabel(text) ? text : nil
  }

  func label(_ index: Int, equals text: StaticString) -> Bool {
    let range = range(ofLabel: index)
    guard range.count == text.utf8CodeUnitCount else { return false }
    return zip(range, 0..<range.count).allSatisfy { bytes[$0] == text.utf8Start[$1] }
  }

  /// How many labels precede `suffix`; nil where the name doesn't end in it.
  func labels(before suffix: DNSWireName) -> Int? {
    let count = labelCount - suffix.labelCount
    guard count >= 0 else { return nil }
    let start = offset(ofLabel: count)
    guard bytes.count - start == suffix.bytes.count, bytes[start...].elementsEqual(suffix.bytes) else { return nil }
    return count
  }

  /// Calls `visit` with each label's range, its length byte first. A pointer has to lead before everything read
  /// so far (RFC 1035 §4.1.4: "a prior occurrence"), which makes loops impossible; hops are bounded besides.
  @inline(__always)
  private static func walk(
    _ message: UnsafeRawBufferPointer, at offset: inout Int, visit: (Range<Int>) -> Void
  ) throws(DNSFormatError) {
    var position = offset
    var lowest = offset
    var end: Int?
    var length = 1
    var hops = 0
    while true {
      guard position < message.count else { throw .truncated }
      let byte = message[position]
      switch byte >> 6 {
      case 0:
        let next = position + 1 + Int(byte)
        guard next <= message.count else { throw .truncated }
        if byte == 0 {
          offset = end ?? next
          return
        }
        length += 1 + Int(byte)
        guard length <= DNSLimits.name else { throw .nameTooLong }
        visit(position..<next)
        position = next
      case 3:
        guard position + 1 < message.count else { throw .truncated }
        let target = Int(message.dnsUInt16(at: position) & 0x3fff)
        hops += 1
        guard target >= DNSLimits.header, target < lowest, hops <= DNSLimits.pointerHops else { throw .badPointer }
        end = end ?? position + 2
        lowest = target
        position = target
      default: throw .badLabel
      }
    }
  }
}
