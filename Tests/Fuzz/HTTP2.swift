// An HTTP/2 connection, as server and as client, whose peer sends anything. What has to hold: cut in any way the bytes
// give the same events and the same answers; what is answered is HTTP/2 again; heads, streams and answers keep their bounds.

import NIOCore

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  // The first byte says who reads what, the second how the application behaves, the third how the bytes are cut.
  guard let data, size > 3 else { return 0 }
  let choices = data[0]
  let input = UnsafeBufferPointer(start: data + 3, count: size - 3)
  let role: HTTP2Connection.Role = choices & 1 == 0 ? .server : .client
  var bytes: [UInt8] = []
  if choices & 2 == 0 {
    // What every connection begins with needs no luck.
    if role == .server { bytes += "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8 }
    bytes += [0, 0, 0, 4, 0, 0, 0, 0, 0]
  }
  if choices & 4 == 0 { bytes += frames(input) } else { bytes += input }
  let piece = 1 + Int(data[2] & 63) * Int(data[2] >> 6 + 1)
  let whole = Application(role, choices: choices, behaviour: data[1]).run(bytes, piece: bytes.count)
  let cut = Application(role, choices: choices, behaviour: data[1]).run(bytes, piece: piece)
  precondition(whole.log == cut.log, "the cuts change what is read")
  precondition(whole.output.bytes == cut.output.bytes, "the cuts change what is answered")
  whole.verify()
  return 0
}

/// Frames with the right length, each from type, flags, stream and length; a type above 127 asks for a payload that many
/// times as long, with zeros, so that windows are used up.
private func frames(_ input: UnsafeBufferPointer<UInt8>) -> [UInt8] {
  var bytes: [UInt8] = []
  var cursor = 0
  while cursor + 4 <= input.count, bytes.count < 128 << 10 {
    let (type, flags, stream) = (input[cursor], input[cursor + 1], input[cursor + 2])
    let count = min(Int(input[cursor + 3]), input.count - cursor - 4)
    let filling = type & 0x80 == 0 ? 0 : 100 * Int(input[cursor + 3])
    cursor += 4
    let length = count + filling
    bytes += [
      UInt8(length >> 16), UInt8(length >> 8 & 0xff), UInt8(length & 0xff), type & 0x7f, flags, 0, 0, 0, stream,
    ]
    bytes += input[cursor..<cursor + count]
    bytes += [UInt8](repeating: 0, count: filling)
    cursor += count
  }
  return bytes
}

/// Who uses the connection: it answers by what it was told only, never by how the bytes came.
private struct Application {
  var connection: HTTP2Connection
  var limits = HTTP2Connection.Limits()
  var output = ByteBuffer()
  var log: [String] = []
  private let behaviour: UInt8
  /// DATA of one stream that no other event has followed yet.
  private var pending: (stream: UInt32, bytes: [UInt8]) = (0, [])

  init(_ role: HTTP2Connection.Role, choices: UInt8, behaviour: UInt8) {
    self.behaviour = behaviour
    if choices & 8 != 0 {
      limits.streams = 4
      limits.streamWindow = 0
      limits.connectionWindow = 0
      limits.headerBlock = 600
      limits.fields = 6
      limits.continuations = 2
      limits.idleFrames = 30
      limits.wastedStreams = 4
    }
    connection = HTTP2Connection(role: role, limits: limits, into: &output)
    guard role == .client else { return }
    for method in ["GET", "HEAD", "CONNECT", "POST", "GET"] { open(method) }
    if behaviour & 128 != 0 { connection.ping(1, into: &output) }
  }

  consuming func run(_ bytes: [UInt8], piece: Int) -> Application {
    var start = 0
    while start < bytes.count {
      let end = min(start + piece, bytes.count)
      // In storage of its own: what reads beyond, or later, is seen.
      let part = UnsafeMutableRawBufferPointer.allocate(byteCount: end - start, alignment: 1)
      defer { part.deallocate() }
      part.copyBytes(from: bytes[start..<end])
      guard take(UnsafeRawBufferPointer(part)) else { break }
      start = end
    }
    settle()
    return self
  }

  /// - Returns: whether the connection goes on.
  private mutating func take(_ part: UnsafeRawBufferPointer) -> Bool {
    var rest = part
    // What a read owes in answers is in proportion to it; a head or frame begun before may add to it.
    var owed = 0
    do throws(HTTP2Error) {
      while true {
        let before = output.writerIndex
        let event = try connection.next(from: &rest, into: &output)
        owed += output.writerIndex - before
        precondition(owed <= 4 * (part.count - rest.count) + 64, "answers out of proportion")
        precondition(connection.streamCount <= limits.streams, "more streams than were allowed")
        guard let event else { break }
        handle(event)
      }
    } catch {
      // How much of a frame came through before it proved wrong depends on the cuts.
      pending.bytes = []
      log.append("\(error)")
      connection.goAway(error.code, into: &output)
      return false
    }
    precondition(rest.isEmpty, "bytes are left though more were asked for")
    return true
  }

  private mutating func handle(_ event: HTTP2Connection.Event) {
    switch event {
    case .data(let stream, let bytes):
      precondition(!bytes.isEmpty && connection.isOpen(stream))
      if stream != pending.stream { settle() }
      pending.stream = stream
      pending.bytes += bytes
      return
    case .reset(let stream, _) where stream == pending.stream: pending.bytes = []
    // Told when a read is at its end: this one does depend on the cuts.
    case .streamsAvailable: return
    default: break
    }
    settle()
    switch event {
    case .headers(let stream, let end): headers(stream, end)
    case .oversized(let stream, let end): refuse(stream, end)
    case .trailers(let stream): log.append("trailers \(stream) \(read())")
    case .ended(let stream):
      log.append("ended \(stream)")
      if behaviour & 7 == 3 { connection.finish(stream, into: &output) }
    case .writable(let stream): send(to: stream)
    default: log.append("\(event)")
    }
  }

  private mutating func headers(_ stream: UInt32, _ end: Bool) {
    log.append("headers \(stream) \(end) \(connection.head.status) \(read())")
    guard connection.role == .server else {
      if behaviour & 7 == 0 { open("GET") }
      if behaviour & 7 == 1 { connection.reset(stream, code: .cancel, into: &output) }
      if behaviour & 7 == 2 { send(to: stream) }
      return
    }
    // The request's own fields come back in its answer.
    var head = HTTPHead()
    connection.exchangeHead(&head)
    head.setStatus(behaviour & 8 == 0 ? 200 : 103)
    switch behaviour & 7 {
    case 0: connection.respond(head, stream: stream, end: true, into: &output)
    case 1: connection.reset(stream, code: .internalError, into: &output)
    case 2, 3:
      connection.respond(head, stream: stream, end: false, into: &output)
      send(to: stream)
    case 4:
      connection.respond(head, stream: stream, end: false, into: &output)
      connection.sendTrailers(head, stream: stream, into: &output)
    case 5:
      connection.announceGoAway(into: &output)
      connection.goAway(.noError, into: &output)
    default: break
    }
  }

  private mutating func refuse(_ stream: UInt32, _ end: Bool) {
    log.append("oversized \(stream) \(end) \(read())")
    var head = HTTPHead()
    head.setStatus(431)
    connection.respond(head, stream: stream, end: true, into: &output)
    if !end { connection.reset(stream, code: .noError, into: &output) }
  }

  /// The head as the application sees it: within its bounds.
  private func read() -> [String] {
    let head = connection.head
    precondition(head.fields.count <= limits.fields && head.bytes.count <= 2 * limits.headerBlock + 2 * limits.fields)
    let start = [head.method, head.scheme, head.authority, head.path].map(head.text)
    return start + head.fields.map { "\(head.text($0.name)): \(head.text($0.value))" }
  }

  private mutating func open(_ method: String) {
    var head = HTTPHead()
    head.setMethod(method.utf8)
    head.setAuthority("a".utf8)
    head.setPath("/".utf8)
    guard let stream = connection.open(head, end: method == "GET", into: &output) else { return }
    if method == "POST" { send(to: stream) }
  }

  private mutating func send(to stream: UInt32) {
    let bytes = [UInt8](repeating: 0, count: 4000)
    let capacity = connection.capacity(of: stream)
    let sent = bytes.withUnsafeBytes { connection.send($0, stream: stream, end: behaviour & 16 != 0, into: &output) }
    // To a stream that takes nothing any more all is sent.
    precondition(sent == min(capacity, bytes.count) || capacity == 0 && sent == bytes.count, "over the window")
    log.append("sent \(sent) to \(stream)")
  }

  /// Notes what came of DATA, and gives it back to the peer.
  private mutating func settle() {
    guard !pending.bytes.isEmpty else { return }
    log.append("data \(pending.stream) \(pending.bytes.count) \(pending.bytes.reduce(0) { $0 &* 31 &+ UInt64($1) })")
    if behaviour & 32 == 0 { connection.consumed(pending.bytes.count, stream: pending.stream, into: &output) }
    pending.bytes = []
  }

  /// All that was sent, as its receiver reads it: frames, and blocks that its table knows.
  func verify() {
    var reader = FrameReader(expectsPreface: connection.role == .client, maximumFrameSize: HTTP2.maximumDataSize)
    var decoder = HeaderDecoder()
    var block: [UInt8] = []
    output.withUnsafeReadableBytes { bytes in
      var rest = bytes
      do throws(HTTP2Error) {
        while let piece = try reader.next(from: &rest) {
          guard case .frame(let header, let payload) = piece else { continue }
          guard
            header.type == HTTP2.FrameType.headers.rawValue || header.type == HTTP2.FrameType.continuation.rawValue
          else { continue }
          block += payload
          guard header.has(HTTP2.Flag.endHeaders) else { continue }
          let whole = block
          block = []
          var head = HTTPHead()
          // The sections' own rules are what the target HPACK looks at.
          var rules = MessageRules(.trailers, maximumSize: 1 << 20, maximumFields: 1000)
          try whole.withUnsafeBytes { block in
            Result { () throws(HTTP2Error) in try decoder.decode(block, into: &head, rules: &rules) }
          }.get()
        }
      } catch {
        preconditionFailure("what was sent is refused: \(error)")
      }
      precondition(rest.isEmpty && block.isEmpty, "what was sent ends within a frame or block")
    }
  }
}
