// A DNS query's bytes: names with pointers and records end within the message, or the message is refused.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  guard let data, size > 0 else { return 0 }
  let bytes = UnsafeRawBufferPointer(start: data, count: size)
  _ = try? DNSQuery(bytes)
  for start in 0..<min(size, 32) {
    var offset = start
    guard (try? DNSWireName(reading: bytes, at: &offset)) != nil else { continue }
    precondition(offset > start && offset <= size, "a name ends outside its message")
    var skipped = start
    precondition((try? DNSWireName.skip(bytes, at: &skipped)) != nil && skipped == offset, "two ends of one name")
  }
  return 0
}
