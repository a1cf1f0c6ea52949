/// What a message's head says about its connection and its body.
struct HTTP1Facts {
  var fieldCount = 0
  var minorVersion = 1
  /// The target is an absolute form without a path: `/` goes before its query, or `*` is OPTIONS's.
  var needsSlash = false
  var needsAsterisk = false
  var isConnect = false
  var host: HTTPHead.Slice?
  var contentLength: UInt64?
  /// `chunked` came, as the only transfer coding.
  var isChunked = false
  var hasTransferEncoding = false
  var saysClose = false
  var saysKeepAlive = false
  var saysUpgrade = false
  var connectionOptions = 0
  /// Connection names fields, besides the options that are known.
  var namesFields = false
  var hasUpgrade = false
  /// `Upgrade: h2c` is never taken up: it would lead around the proxy's rules.
  var upgradesToH2C = false
  var expectsContinue = false

  mutating func takeField(_ name: HTTP1Line, _ value: HTTP1Line, isResponse: Bool) throws(HTTP1Error) {
    switch name.count {
    case 4 where name.equals("host") && !isResponse:
      guard host == nil else { throw HTTP1Error(status: 400, reason: "more than one Host field") }
      guard HTTPSyntax.isAuthority(value.bytes) else { throw HTTP1Error(status: 400, reason: "an invalid Host field") }
      host = value.slice
    case 6 where name.equals("expect"): if value.equals("100-continue") { expectsContinue = true }
    case 7 where name.equals("upgrade"):
      hasUpgrade = true
      try value.forEachElement { (protocolName: HTTP1Line) throws(HTTP1Error) in
        if protocolName.equals("h2c") { upgradesToH2C = true }
      }
    case 10 where name.equals("connection"): try takeConnection(value)
    case 14 where name.equals("content-length"): try takeContentLength(value)
    case 17 where name.equals("transfer-encoding"): try takeTransferEncoding(value)
    default: break
    }
  }

  /// Exactly one field with one number: a list like `5, 5` could be recovered (RFC 9112 §6.3), but only an attack or a
  /// broken peer sends it.
  private mutating func takeContentLength(_ value: HTTP1Line) throws(HTTP1Error) {
    guard contentLength == nil else { throw HTTP1Error(status: 400, reason: "more than one Content-Length field") }
    guard 1...19 ~= value.count else { throw HTTP1Error(status: 400, reason: "an invalid Content-Length") }
    var length: UInt64 = 0
    for digit in value.bytes {
      guard digit &- 48 < 10 else { throw HTTP1Error(status: 400, reason: "an invalid Content-Length") }
      length = length * 10 + UInt64(digit - 48)
    }
    guard length <= UInt64(Int64.max) else { throw HTTP1Error(status: 400, reason: "an invalid Content-Length") }
    contentLength = length
  }

  /// `chunked` alone; the fields of that name count as one list (RFC 9112 §6.1).
  private mutating func takeTransferEncoding(_ value: HTTP1Line) throws(HTTP1Error) {
    hasTransferEncoding = true
    try value.forEachElement { (coding: HTTP1Line) throws(HTTP1Error) in
      // Whatever follows `chunked` leaves the body's end unknown.
      guard !isChunked else { throw HTTP1Error(status: 400, reason: "chunked is not the last transfer coding") }
      if coding.equals("chunked") {
        isChunked = true
      } else {
        guard HTTPSyntax.isToken(coding.bytes) else {
          throw HTTP1Error(status: 400, reason: "an invalid Transfer-Encoding")
        }
        throw HTTP1Error(status: 501, reason: "a transfer coding other than chunked")
      }
    }
  }

  private mutating func takeConnection(_ value: HTTP1Line) throws(HTTP1Error) {
    try value.forEachElement { (option: HTTP1Line) throws(HTTP1Error) in
      guard option.count > 0 else { return }
      connectionOptions += 1
      guard connectionOptions <= HTTP1Limits.maximumConnectionOptions else {
        throw HTTP1Error(status: 400, reason: "too many connection options")
      }
      guard HTTPSyntax.isToken(option.bytes) else {
        throw HTTP1Error(status: 400, reason: "an invalid Connection field")
      }
      if option.equals("close") {
        saysClose = true
      } else if option.equals("keep-alive") {
        saysKeepAlive = true
      } else if option.equals("upgrade") {
        saysUpgrade = true
      } else if !option.equals("te") {
        namesFields = true
      }
    }
  }

  /// HTTP/1.1 unless it says close, HTTP/1.0 only if it says keep-alive (RFC 9112 §9.3).
  var isKeepAlive: Bool { !saysClose && (minorVersion > 0 || saysKeepAlive) }

  /// RFC 9110 §7.8: of HTTP/1.0 it is ignored.
  var isUpgrade: Bool { minorVersion > 0 && hasUpgrade && saysUpgrade && !upgradesToH2C }

  /// What holds whatever the message: no two framings, none that HTTP/1.0 doesn't know (RFC 9112 §6.1).
  func checkFraming() throws(HTTP1Error) {
    guard hasTransferEncoding else { return }
    guard contentLength == nil else {
      throw HTTP1Error(status: 400, reason: "both Transfer-Encoding and Content-Length")
    }
    guard minorVersion > 0 else { throw HTTP1Error(status: 400, reason: "Transfer-Encoding in HTTP/1.0") }
  }

  func requestFraming() throws(HTTP1Error) -> HTTP1Reader.Framing {
    try checkFraming()
    if isConnect, hasTransferEncoding || contentLength ?? 0 > 0 {
      throw HTTP1Error(status: 400, reason: "CONNECT with a body")
    }
    if isChunked { return .chunked }
    if let contentLength { return .length(contentLength) }
    return .none
  }

  /// RFC 9112 §6.3. Not for tunnels.
  func responseFraming(status: Int, toHead: Bool) throws(HTTP1Error) -> HTTP1Reader.Framing {
    try checkFraming()
    if status < 200 || status == 204 {
      guard !hasTransferEncoding, contentLength ?? 0 == 0 else {
        throw HTTP1Error(status: 502, reason: "a body where the status allows none")
      }
      return .none
    }
    if toHead || status == 304 { return .none }
    if isChunked { return .chunked }
    if let contentLength { return .length(contentLength) }
    return .untilClose
  }
}
