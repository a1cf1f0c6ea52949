/// Answers without records.
public enum DNSError {
  /// An answer that only says `code`, with the question where the message is a query that can be read.
  /// Nil for a message that can't be answered: shorter than a header, or itself a response.
  public static func answer(_ code: DNSResponseCode, to message: UnsafeRawBufferPointer) -> [UInt8]? {
    guard message.count >= DNSLimits.header, message[2] & 0x80 == 0 else { return nil }
    if let query = try? DNSQuery(message) {
      // No records are written, so the transport's limit doesn't matter.
      return DNSResponseWriter(query, message: message, transport: .tcp).finish(code, isAuthoritative: false)
    }
    var bytes = Array(message[..<4])
    let kept = DNSFlag.opcode | DNSFlag.recursionDesired
    bytes.setDNS(
      message.dnsUInt16(at: 2) & kept | DNSFlag.response | DNSFlag.recursionAvailable
        | code.rawValue & DNSFlag.responseCode, at: 2)
    bytes.append(contentsOf: repeatElement(0, count: 8))
    return bytes
  }
}
