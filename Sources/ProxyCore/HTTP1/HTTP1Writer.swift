/// Writes HTTP/1.1 messages (RFC 9112). Fields that belong to one connection don't reach the next (RFC 9110 §7.6.1):
/// framing, Connection and Host are written anew; the others keep their order and the case of their names. Appends to
/// the caller's storage and allocates nothing but its growth.
///
/// Fields that aren't well formed are left out, wherever they come from. Method, path and authority have to be checked
/// by who took them in (`HTTPSyntax`).
public enum HTTP1Writer {
  /// `forwardsUpgrade`: the request's Upgrade field goes along.
  public static func request(
    _ head: HTTPHead, framing: HTTP1Reader.Framing, keepAlive: Bool, forwardsUpgrade: Bool = false,
    into output: inout [UInt8]
  ) {
    head.bytes.withUnsafeBytes { arena in
      var fields = HTTP1FieldWriter(arena, head.fields)
      let isConnect = head.equals(head.method, "CONNECT")
      output.append(arena, head.method)
      output.append(UInt8(ascii: " "))
      let target = isConnect ? head.authority : head.path
      if target.isEmpty { output.append(UInt8(ascii: "/")) } else { output.append(arena, target) }
      output.append(" HTTP/1.1\r\n")
      if head.index(of: "host") == nil { host(head, arena, &output) }
      while let field = fields.next() {
        switch field.kind {
        case .endToEnd: output.append(arena, field.field)
        case .host:
          if !fields.didWriteHost { host(head, arena, &output) }
          fields.didWriteHost = true
        case .cookie: fields.writeCookies(&output)
        case .upgrade: if forwardsUpgrade { output.append(arena, field.field) }
        case .te: if fields.acceptsTrailers(field.field) { fields.keepsTE = true }
        case .contentLength: fields.didWriteLength = keepsPlace(field.field, arena, framing, fields, &output)
        case .hopByHop: break
        }
      }
      if fields.keepsTE { output.append("TE: trailers\r\n") }
      switch framing {
      case .none:
        // Servers wait for a length where a method is defined to have content (RFC 9110 §8.6).
        let method = head.method
        if head.equals(method, "POST") || head.equals(method, "PUT") || head.equals(method, "PATCH") {
          contentLength(0, &output)
        }
      case .length(let length): if !fields.didWriteLength { contentLength(length, &output) }
      case .chunked, .untilClose: output.append("Transfer-Encoding: chunked\r\n")
      }
      connection(close: !keepAlive, keepAlive: false, upgrade: forwardsUpgrade, te: fields.keepsTE, &output)
      output.append("\r\n")
    }
  }

  /// Returns the framing that was written: a client with HTTP/1.0 gets no chunks but a body until the connection's end.
  /// After `untilClose` the connection has to be closed whatever `keepAlive` was.
  ///
  /// With `none`, a Content-Length field of the head stays for an answer to HEAD and a 304; `minorVersion` is the client's.
  @discardableResult
  public static func response(
    _ head: HTTPHead, framing: HTTP1Reader.Framing, keepAlive: Bool, minorVersion: Int,
    into output: inout [UInt8]
  ) -> HTTP1Reader.Framing {
    let framing = framing == .chunked && minorVersion == 0 ? .untilClose : framing
    let status = head.status
    head.bytes.withUnsafeBytes { arena in
      output.append("HTTP/1.1 ")
      for divisor in [100, 10, 1] { output.append(UInt8(48 + status / divisor % 10)) }
      output.append(UInt8(ascii: " "))
      output.append(HTTP1Reason.phrase(status))
      output.append("\r\n")
      var fields = HTTP1FieldWriter(arena, head.fields)
      while let field = fields.next() {
        switch field.kind {
        case .endToEnd, .host, .cookie: output.append(arena, field.field)
        case .upgrade: if status == 101 { output.append(arena, field.field) }
        case .contentLength:
          if framing == .none, status >= 200, status != 204, !fields.didWriteLength {
            output.append(arena, field.field)
            fields.didWriteLength = true
          } else if status >= 200, status != 204 {
            fields.didWriteLength = keepsPlace(field.field, arena, framing, fields, &output)
          }
        case .te, .hopByHop: break
        }
      }
      if status >= 200, status != 204 {
        switch framing {
        case .none, .untilClose: break
        case .length(let length): if !fields.didWriteLength { contentLength(length, &output) }
        case .chunked: output.append("Transfer-Encoding: chunked\r\n")
        }
      }
      let closes = !keepAlive || framing == .untilClose
      if status == 101 {
        connection(close: false, keepAlive: false, upgrade: true, te: false, &output)
      } else if status >= 200 {
        connection(close: closes, keepAlive: minorVersion == 0 && !closes, upgrade: false, te: false, &output)
      }
      output.append("\r\n")
    }
    return framing
  }

  // MARK: Chunks

  /// A whole chunk. Nothing for no bytes: that would end the body.
  public static func chunk(_ bytes: UnsafeRawBufferPointer, into output: inout [UInt8]) {
    guard bytes.count > 0 else { return }
    chunkHeader(bytes.count, into: &output)
    output.append(contentsOf: bytes)
    chunkEnd(into: &output)
  }

  /// What stands before `count` bytes of payload, at least one; after them goes `chunkEnd`.
  public static func chunkHeader(_ count: Int, into output: inout [UInt8]) {
    precondition(count > 0, "an empty chunk would end the body")
    var shift = (Int.bitWidth - 1 - count.leadingZeroBitCount) / 4 * 4
    while shift >= 0 {
      let digit = UInt8(truncatingIfNeeded: count >> shift & 15)
      output.append(digit < 10 ? digit + 48 : digit + 87)
      shift -= 4
    }
    output.append("\r\n")
  }

  public static func chunkEnd(into output: inout [UInt8]) { output.append("\r\n") }

  /// The body's end, with the fields that may stand in a trailer section.
  public static func lastChunk(trailers: HTTPHead? = nil, into output: inout [UInt8]) {
    output.append("0\r\n")
    if let trailers, !trailers.fields.isEmpty {
      trailers.bytes.withUnsafeBytes { arena in
        for field in trailers.fields where HTTP1FieldWriter.isWellFormed(field, arena) {
          guard let base = arena.baseAddress else { continue }
          let name = HTTP1Line(base: base, start: field.name.range.lowerBound, end: field.name.range.upperBound)
          if HTTP1FieldName.inTrailers(name) == .allowed { output.append(arena, field) }
        }
      }
    }
    output.append("\r\n")
  }

  // MARK: Fields of the connection's own

  private static func host(_ head: HTTPHead, _ arena: UnsafeRawBufferPointer, _ output: inout [UInt8]) {
    output.append("Host: ")
    output.append(arena, head.authority)
    output.append("\r\n")
  }

  /// Writes a Content-Length field where it stood, with the length that holds. Returns whether one is written.
  private static func keepsPlace(
    _ field: HTTPHead.Field, _ arena: UnsafeRawBufferPointer, _ framing: HTTP1Reader.Framing,
    _ fields: HTTP1FieldWriter, _ output: inout [UInt8]
  ) -> Bool {
    guard !fields.didWriteLength, case .length(let length) = framing else { return fields.didWriteLength }
    output.append(arena, field.name)
    output.append(": ")
    decimal(length, &output)
    output.append("\r\n")
    return true
  }

  private static func contentLength(_ length: UInt64, _ output: inout [UInt8]) {
    output.append("Content-Length: ")
    decimal(length, &output)
    output.append("\r\n")
  }

  private static func decimal(_ length: UInt64, _ output: inout [UInt8]) {
    var divisor: UInt64 = 1
    while length / divisor >= 10 { divisor *= 10 }
    while divisor > 0 {
      output.append(UInt8(48 + length / divisor % 10))
      divisor /= 10
    }
  }

  private static func connection(
    close: Bool, keepAlive: Bool, upgrade: Bool, te: Bool, _ output: inout [UInt8]
  ) {
    guard close || keepAlive || upgrade || te else { return }
    var separator: StaticString = "Connection: "
    func option(_ isThere: Bool, _ name: StaticString, _ output: inout [UInt8]) {
      guard isThere else { return }
      output.append(separator)
      output.append(name)
      separator = ", "
    }
    option(close, "close", &output)
    option(keepAlive, "keep-alive", &output)
    option(upgrade, "upgrade", &output)
    option(te, "TE", &output)
    output.append("\r\n")
  }
}

extension [UInt8] {
  mutating func append(_ text: StaticString) {
    append(contentsOf: UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  mutating func append(_ arena: UnsafeRawBufferPointer, _ slice: HTTPHead.Slice) {
    append(contentsOf: UnsafeRawBufferPointer(rebasing: arena[slice.range]))
  }

  mutating func append(_ arena: UnsafeRawBufferPointer, _ field: HTTPHead.Field) {
    append(arena, field.name)
    append(": ")
    append(arena, field.value)
    append("\r\n")
  }
}
