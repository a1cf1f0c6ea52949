import MeshModel

extension DNSWireName {
  /// The address that a reverse name stands for: `4.3.2.1.in-addr.arpa` (RFC 1035 §3.5) or 32 nibbles before
  /// `ip6.arpa` (RFC 3596 §2.5).
  var reverseAddress: IPAddress? {
    guard labelCount == 6 || labelCount == 34, label(labelCount - 1, equals: "arpa") else { return nil }
    if labelCount == 6 {
      guard label(4, equals: "in-addr") else { return nil }
      var value: UInt32 = 0
      for index in (0..<4).reversed() {
        guard let octet = UInt8(String(decoding: bytes[range(ofLabel: index)], as: UTF8.self)) else { return nil }
        value = value << 8 | UInt32(octet)
      }
      return IPAddress(v4: value)
    }
    guard label(32, equals: "ip6") else { return nil }
    var high: UInt64 = 0
    var low: UInt64 = 0
    for index in (0..<32).reversed() {
      let range = range(ofLabel: index)
      guard range.count == 1, let nibble = Character(UnicodeScalar(bytes[range.lowerBound])).hexDigitValue else {
        return nil
      }
      // The last nibble of the address comes first in the name.
      if index >= 16 { high = high << 4 | UInt64(nibble) } else { low = low << 4 | UInt64(nibble) }
    }
    return IPAddress(v6High: high, v6Low: low)
  }
}
