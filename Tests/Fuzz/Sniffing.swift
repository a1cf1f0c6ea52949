// A connection's first bytes, ClientHello and all: whatever they are they are decided on within bounds, and the same
// whether they come at once or one by one.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  guard let data, size > 0 else { return 0 }
  let bytes = UnsafeRawBufferPointer(start: data, count: size)
  let whole = ProtocolSniffer.verdict(bytes)
  var sniffer = ProtocolSniffer()
  var verdict: SniffedProtocol?
  var index = 0
  while index < size, verdict == nil {
    verdict = sniffer.feed(UnsafeRawBufferPointer(rebasing: bytes[index..<index + 1]))
    index += 1
  }
  // What was decided on less stays decided.
  precondition(verdict == whole, "the cuts change what is found")
  return 0
}
