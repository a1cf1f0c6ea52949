import CLinux
import Glibc
import struct NIOCore.ByteBuffer
@testable import ProxyCore
@testable import ProxyRuntime

/// One end of a connection of HTTP/2 with prior knowledge, step by step.
final class HTTP2Talker {
  struct Message: Equatable {
    /// `name: value`, pseudo-header fields too.
    var lines: [String] = []
    var status = 0
    var body: [UInt8] = []
    var trailers: [String] = []
    var hasEnded = false
    /// It ended with its head.
    var wasHeadOnly = false
    var reset: UInt32?
    var text: String { String(decoding: body, as: UTF8.self) }

    subscript(_ name: String) -> String? {
      (lines + trailers).first { $0.hasPrefix("\(name): ") }.map { String($0.dropFirst(name.utf8.count + 2)) }
    }
  }

  let peer: HTTPPeer
  private var http2: HTTP2Connection
  private var out = ByteBuffer()
  private(set) var messages: [UInt32: Message] = [:]
  /// In the order in which they began.
  private(set) var streams: [UInt32] = []
  private(set) var hasGoAway = false
  /// Of the last GOAWAY.
  private(set) var lastStream = UInt32(Int32.max)
  private(set) var isAtEnd = false
  /// Whether it opens streams between the two GOAWAYs of a graceful end.
  var goesOnWhenAnnounced = false
  var acceptsStreams: Bool { http2.acceptsStreams }
  /// Whether what arrives is given back to the sender's window.
  var consumes = true

  /// - Parameter streams: so many at once may the other end open.
  init(_ peer: HTTPPeer, _ role: HTTP2Connection.Role, streams: Int = 100) throws {
    self.peer = peer
    var limits = HTTP2Connection.Limits()
    limits.streams = streams
    http2 = HTTP2Connection(role: role, limits: limits, into: &out)
    try flush()
  }

  func flush() throws {
    try peer.socket.write(Array(out.readableBytesView))
    out.clear()
  }

  // MARK: Sending

  @discardableResult
  func request(_ method: String = "GET", _ path: String = "/", _ lines: [String] = [], end: Bool = true) throws
    -> UInt32
  {
    var head = Self.head(lines)
    head.setMethod(method.utf8)
    head.setScheme("http".utf8)
    head.setAuthority("web".utf8)
    head.setPath(path.utf8)
    guard let id = http2.open(head, end: end, into: &out) else { throw SystemError(EPROTO, "open a stream") }
    try flush()
    return id
  }

  func respond(_ id: UInt32, _ status: Int = 200, _ lines: [String] = [], body: String? = nil, end: Bool = true) throws
  {
    var head = Self.head(lines)
    head.setStatus(status)
    http2.respond(head, stream: id, end: end && body == nil, into: &out)
    if let body { try send(id, Array(body.utf8), end: end) } else { try flush() }
  }

  /// As much as the windows allow.
  @discardableResult
  func send(_ id: UInt32, _ bytes: [UInt8], end: Bool = false) throws -> Int {
    let sent = bytes.withUnsafeBytes { http2.send($0, stream: id, end: end, into: &out) }
    try flush()
    return sent
  }

  func sendTrailers(_ id: UInt32, _ lines: [String]) throws {
    http2.sendTrailers(Self.head(lines), stream: id, into: &out)
    try flush()
  }

  func reset(_ id: UInt32, _ code: HTTP2ErrorCode = .cancel) throws {
    http2.reset(id, code: code, into: &out)
    try flush()
  }

  /// - Parameter lastStream: so that what came above it isn't answered.
  func goAway(lastStream: UInt32 = .max) throws {
    http2.announcedLastStream = lastStream
    http2.goAway(.noError, into: &out)
    try flush()
  }

  private static func head(_ lines: [String]) -> HTTPHead {
    var head = HTTPHead()
    for line in lines {
      let parts = line.split(separator: ":", maxSplits: 1)
      head.append(String(parts[0]), String(parts[1].drop { $0 == " " }))
    }
    return head
  }

  // MARK: Receiving

  /// Reads until `condition` holds; ten seconds at most without a byte.
  func read(until condition: (HTTP2Talker) -> Bool) throws {
    while !condition(self) {
      guard !isAtEnd else { throw SystemError(EPIPE, "read a frame") }
      try take(try readOnce())
    }
  }

  private func readOnce() throws -> [UInt8] {
    do {
      let bytes = try peer.socket.readSome()
      isAtEnd = bytes.isEmpty
      return bytes
    } catch let error as SystemError where error.code == ECONNRESET {
      isAtEnd = true
      return []
    }
  }

  /// What is there already.
  func readSome(for milliseconds: Int32 = 30) throws {
    var poll = pollfd(fd: peer.socket.fd, events: Int16(POLLIN), revents: 0)
    while !isAtEnd, Glibc.poll(&poll, 1, milliseconds) == 1 { try take(try readOnce()) }
  }

  /// false: nothing came within `milliseconds`.
  func readOne(for milliseconds: Int32) throws -> Bool {
    var poll = pollfd(fd: peer.socket.fd, events: Int16(POLLIN), revents: 0)
    guard !isAtEnd, Glibc.poll(&poll, 1, milliseconds) == 1 else { return false }
    try take(try readOnce())
    return true
  }

  private func take(_ bytes: [UInt8]) throws {
    guard !bytes.isEmpty else { return }
    try bytes.withUnsafeBytes { raw in
      var input = raw
      while let event = try http2.next(from: &input, into: &out) { note(event) }
    }
    try flush()
  }

  /// The next request, whole.
  func nextRequest(whole: Bool = true) throws -> UInt32 {
    let before = asked
    try read { $0.streams.count > before && (!whole || $0.messages[$0.streams[before]]!.hasEnded) }
    asked = before + 1
    return streams[before]
  }

  private var asked = 0

  /// The response to a request of this end's, whole.
  func answer(to id: UInt32) throws -> Message {
    try read { $0.messages[id].map { $0.hasEnded || $0.reset != nil } ?? false }
    return messages[id]!
  }

  private func note(_ event: HTTP2Connection.Event) {
    switch event {
    case .headers(let id, let end):
      let head = http2.head
      // An informational head is followed by another.
      var message = Message(lines: head.fields.map { "\(head.text($0.name)): \(head.text($0.value))" })
      message.status = head.status
      if !head.path.isEmpty { message.lines.append(":path: \(head.text(head.path))") }
      if !head.method.isEmpty { message.lines.append(":method: \(head.text(head.method))") }
      message.hasEnded = end
      message.wasHeadOnly = end
      if messages[id] == nil { streams.append(id) }
      messages[id] = message
    case .trailers(let id):
      let head = http2.head
      messages[id]?.trailers = head.fields.map { "\(head.text($0.name)): \(head.text($0.value))" }
      messages[id]?.hasEnded = true
    case .data(let id, let bytes):
      messages[id]?.body += bytes
      if consumes { http2.consumed(bytes.count, stream: id, into: &out) }
    case .ended(let id): messages[id]?.hasEnded = true
    case .reset(let id, let code): messages[id, default: Message()].reset = code
    case .goAway(let last, _):
      hasGoAway = true
      lastStream = last
      // An announcement forbids nothing yet.
      if goesOnWhenAnnounced, last == Int32.max { http2.isDraining = false }
    case .oversized, .writable, .connectionWritable, .streamsAvailable, .pong: break
    }
  }
}
