// The HTTP/1.1 reader and writer. What has to hold for any bytes: cut in any way they give the same events, and a request
// that was taken and written again is read as one request with the same meaning.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  // The first byte says who reads, the second how the bytes are cut.
  guard let data, size > 2 else { return 0 }
  let bytes = Array(UnsafeBufferPointer(start: data + 2, count: size - 2))
  let role: HTTP1Reader.Role = data[0] & 1 == 0 ? .request : .response
  let whole = read(bytes, role, choices: data[0], piece: bytes.count)
  let cut = read(bytes, role, choices: data[0], piece: 1 + Int(data[1] % 17))
  precondition(whole == cut, "the cuts change what is read")
  return 0
}

/// All that a reader told of those bytes, in pieces of that size.
private func read(_ bytes: [UInt8], _ role: HTTP1Reader.Role, choices: UInt8, piece: Int) -> [String] {
  var reader = HTTP1Reader(role)
  func expect() {
    reader.expectResponse(toHead: choices & 2 != 0, toConnect: choices & 4 != 0, toUpgrade: choices & 8 != 0)
  }
  expect()
  var log: [String] = []
  var body: [UInt8] = []
  var failed = false
  func note(_ event: HTTP1Reader.Event) {
    if case .body(let bytes) = event {
      body += bytes
      return
    }
    if !body.isEmpty { log.append("body \(body)") }
    body = []
    if case .head = event {
      log.append(describe(reader.head) + " \(reader.framing) \(reader.isKeepAlive)")
      rewrite(reader, role)
    } else {
      log.append("end \(reader.trailers.fields.count)")
      if reader.isBetweenMessages, !reader.isInformational { expect() }
    }
  }
  var start = 0
  while start < bytes.count, !failed {
    let end = min(start + piece, bytes.count)
    Array(bytes[start..<end]).withUnsafeBytes { buffer in
      var rest = buffer
      do throws(HTTP1Error) {
        while let event = try reader.next(from: &rest) { note(event) }
        precondition(rest.isEmpty, "bytes are left though more were asked for")
      } catch {
        failed = true
        if !body.isEmpty { log.append("body \(body)") }
        body = []
        log.append("\(error)")
      }
    }
    start = end
  }
  if !failed {
    do throws(HTTP1Error) {
      if let event = try reader.ended() { note(event) }
    } catch {
      if !body.isEmpty { log.append("body \(body)") }
      log.append("\(error)")
    }
  }
  return log
}

private func describe(_ head: HTTPHead) -> String {
  let fields = head.fields.map { "\(head.text($0.name)): \(head.text($0.value))" }
  return "\(head.text(head.method)) \(head.text(head.authority)) \(head.text(head.path)) \(head.status) \(fields)"
}

/// Writes the head and reads it again: a head, whole, with the same start line and framing, and nothing after it.
private func rewrite(_ reader: HTTP1Reader, _ role: HTTP1Reader.Role) {
  guard !reader.isTunnel else { return }
  var output: [UInt8] = []
  var again = HTTP1Reader(role)
  switch role {
  case .request:
    guard !reader.head.authority.isEmpty else { return }
    HTTP1Writer.request(reader.head, framing: reader.framing, keepAlive: reader.isKeepAlive, into: &output)
  case .response:
    HTTP1Writer.response(
      reader.head, framing: reader.framing, keepAlive: reader.isKeepAlive, minorVersion: 1, into: &output)
    again.expectResponse(toHead: reader.framing == .none && reader.head.status >= 200, toConnect: false)
  }
  output.withUnsafeBytes { buffer in
    var rest = buffer
    do throws(HTTP1Error) {
      guard case .head? = try again.next(from: &rest) else {
        preconditionFailure("the head that was written has no end")
      }
    } catch {
      // Two bounds may be passed by what is added.
      precondition(
        error.status == 431 || role == .response && buffer.count > 64 << 10, "what was written is refused: \(error)")
      return
    }
    precondition(rest.isEmpty, "what was written has more than a head")
  }
  guard !again.head.bytes.isEmpty else { return }
  let (old, new) = (reader.head, again.head)
  precondition(old.text(old.method) == new.text(new.method) && old.status == new.status)
  precondition(old.text(old.authority) == new.text(new.authority) && old.text(old.path) == new.text(new.path))
  // A request without a length may have been given that of nothing.
  precondition(again.framing == reader.framing || (reader.framing == .none && again.framing == .length(0)))
}
