extension UnsafeRawBufferPointer {
  /// Two bytes in network order; the caller has checked that they're there.
  @inline(__always)
  func dnsUInt16(at offset: Int) -> UInt16 {
    UInt16(self[offset]) << 8 | UInt16(self[offset + 1])
  }
}

extension [UInt8] {
  @inline(__always)
  mutating func appendDNS(_ value: UInt16) {
    append(UInt8(value >> 8))
    append(UInt8(truncatingIfNeeded: value))
  }

  @inline(__always)
  mutating func appendDNS(_ value: UInt32) {
    appendDNS(UInt16(value >> 16))
    appendDNS(UInt16(truncatingIfNeeded: value))
  }

  @inline(__always)
  mutating func setDNS(_ value: UInt16, at offset: Int) {
    self[offset] = UInt8(value >> 8)
    self[offset + 1] = UInt8(truncatingIfNeeded: value)
  }
}

extension UInt8 {
  /// Names compare without regard to ASCII case (RFC 4343).
  @inline(__always)
  var dnsLowercased: UInt8 {
    self >= UInt8(ascii: "A") && self <= UInt8(ascii: "Z") ? self | 0x20 : self
  }
}
