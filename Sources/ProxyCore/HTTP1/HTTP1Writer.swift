/// Writes HTTP/1.1 messages (RFC 9112). Fields that belong to one connection don't reach the next (RFC 9110 §7.6.1):
/// framing, Connection and Host are written anew, and of TE only that trailers are accepted. All but Connection keep their
/// place and the case of their names; what the head lacks is added: Host in front of all else (RFC 9112 §3.2), the others
/// behind. Appends to the caller's storage and allocates nothing but its growth.
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
      if head.index(of: "host") == nil {
        output.append("Host: ")
        host(head, arena, &output)
      }
      while let field = fields.next() {
        switch field.kind {
        case .endToEnd: output.append(arena, field.field)
        case .host:
          guard !fields.didWriteHost else { continue }
          output.append(arena, field.field.name)
          output.append(": ")
          host(head, arena, &output)
          fields.didWriteHost = true
        case .cookie: fields.writeCookies(&output)
        case .upgrade: if forwardsUpgrade { output.append(arena, field.field) }
        case .te:
          guard !fields.didWriteTE, fields.acceptsTrailers(field.field) else { continue }
          output.append(arena, field.field.name)
          output.append(": trailers\r\n")
          fields.didWriteTE = true
        case .contentLength, .transferEncoding:
          fields.didWriteFraming = keepsPlace(field, arena, framing, fields, &output)
        case .hopByHop: break
        }
      }
      switch framing {
      case .none:
        // Servers wait for a length where a method is defined to have content (RFC 9110 §8.6).
        let method = head.method
        if head.equals(method, "POST") || head.equals(method, "PUT") || head.equals(method, "PATCH") {
          contentLength(0, &output)
        }
      case .length(let length): if !fields.didWriteFraming { contentLength(length, &output) }
      case .chunked, .untilClose: if !fields.didWriteFraming { output.append("Transfer-Encoding: chunked\r\n") }
      }
      connection(close: !keepAlive, keepAlive: false, upgrade: forwardsUpgrade, te: fields.didWriteTE, &output)
      output.append("\r\n")
    }
  }

  /// Returns the framing that was written: a client with HTTP/1.0 gets no chunks but a body until the connection's end.
  /// After `untilClose` the connection has to be closed whatever `keepAlive` was.
  ///
  /// With `none`, a Content-Length field of the head stays for an answer to HEAD and a 304; `minorVersion` is the client's.
  /// Upgrade goes along with 101, and with 426, which is nothing without it (RFC 9110 §15.5.22).
  @discardableResult
  public static func response(
    _ head: HTTPHead, framing: HTTP1Reader.Framing, keepAlive: Bool, minorVersion: Int,
    into output: inout [UInt8]
  ) -> HTTP1Reader.Framing {
    let framing = framing == .chunked && minorVersion == 0 ? .untilClose : framing
    let status = head.status
    let hasFraming = status >= 200 && status != 204
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
        case .upgrade:
          guard status == 101 || status == 426 else { continue }
          output.append(arena, field.field)
          fields.didWriteUpgrade = true
        case .contentLength where framing == .none && hasFraming && !fields.didWriteFraming:
          output.append(arena, field.field)
          fields.didWriteFraming = true
        case .contentLength, .transferEncoding:
          if hasFraming { fields.didWriteFraming = keepsPlace(field, arena, framing, fields, &output) }
        case .te, .hopByHop: break
        }
      }
      if hasFraming, !fields.didWriteFraming {
        switch framing {
        case .none, .untilClose: break
        case .length(let length): contentLength(length, &output)
        case .chunked: output.append("Transfer-Encoding: chunked\r\n")
        }
      }
      let closes = !keepAlive || framing == .untilClose
      if status == 101 {
        connection(close: false, keepAlive: false, upgrade: true, te: false, &output)
      } else if status >= 200 {
        connection(
          close: closes, keepAlive: minorVersion == 0 && !closes, upgrade: fields.didWriteUpgrade, te: false, &output)
      }
      output.append("\r\n")
    }
    return framing
  }

  // MARK: Fields of the connection's own

  /// What stands behind the name.
  private static func host(_ head: HTTPHead, _ arena: UnsafeRawBufferPointer, _ output: inout [UInt8]) {
    output.append(arena, head.authority)
    output.append("\r\n")
  }

  /// Writes a field that frames where it stood, with the framing that holds. Returns whether one is written.
  private static func keepsPlace(
    _ field: (field: HTTPHead.Field, kind: HTTP1FieldWriter.Kind), _ arena: UnsafeRawBufferPointer,
    _ framing: HTTP1Reader.Framing, _ fields: HTTP1FieldWriter, _ output: inout [UInt8]
  ) -> Bool {
    guard !fields.didWriteFraming else { return true }
    switch (framing, field.kind) {
    case (.length(let length), .contentLength):
      output.append(arena, field.field.name)
      output.append(": ")
      decimal(length, &output)
    case (.chunked, .transferEncoding):
      output.append(arena, field.field.name)
      output.append(": chunked")
    default: return false
    }
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
