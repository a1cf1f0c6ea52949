import NIOCore
import Testing

@testable import ProxyCore

/// One end of an ordinary HTTP/2 connection, with what it has seen and what it wants to send.
struct HTTP2Peer {
  /// An event whose bytes outlive the call that yielded it; heads as lines.
  enum Seen: Equatable {
    case headers(UInt32, [String], end: Bool)
    case oversized(UInt32, end: Bool)
    case trailers(UInt32, [String])
    case data(UInt32, [UInt8])
    case ended(UInt32)
    case reset(UInt32, HTTP2ErrorCode)
    case writable(UInt32)
    case connectionWritable
    case goAway(UInt32, HTTP2ErrorCode)
    case streamsAvailable
    case pong(UInt64)
  }

  var connection: HTTP2Connection
  var out = ByteBuffer()
  var seen: [Seen] = []
  var error: HTTP2Error?

  init(_ role: HTTP2Connection.Role, limits: HTTP2Connection.Limits = .init()) {
    connection = HTTP2Connection(role: role, limits: limits, into: &out)
  }

  /// A server that has had its client's preface and settings, or a client with its server's.
  static func greeted(_ role: HTTP2Connection.Role, limits: HTTP2Connection.Limits = .init()) -> HTTP2Peer {
    var peer = HTTP2Peer(role, limits: limits)
    peer.feed(role == .server ? Wire.greeting : Wire.settings([]))
    peer.forget()
    return peer
  }

  mutating func forget() {
    seen = []
    out.clear()
  }

  /// Hands `bytes` on in pieces of `pieces` bytes each, the last size again and again. Data of one stream that arrives
  /// in a row is joined, so that cuts don't show.
  mutating func feed(_ bytes: [UInt8], pieces: [Int] = [Int.max], consume: Bool = true) {
    for piece in bytes.cut(into: pieces) where error == nil {
      piece.withUnsafeBytes { raw in
        var input = raw
        do throws(HTTP2Error) {
          while let event = try connection.next(from: &input, into: &out) { note(event, consume: consume) }
        } catch {
          self.error = error
        }
      }
    }
  }

  private mutating func note(_ event: HTTP2Connection.Event, consume: Bool) {
    switch event {
    case .headers(let id, let end): seen.append(.headers(id, HPACKTests.lines(connection.head, .request), end: end))
    case .oversized(let id, let end): seen.append(.oversized(id, end: end))
    case .trailers(let id): seen.append(.trailers(id, HPACKTests.lines(connection.head, .trailers)))
    case .data(let id, let bytes):
      if consume { connection.consumed(bytes.count, stream: id, into: &out) }
      if case .data(id, let before) = seen.last {
        seen[seen.count - 1] = .data(id, before + bytes)
      } else {
        seen.append(.data(id, Array(bytes)))
      }
    case .ended(let id): seen.append(.ended(id))
    case .reset(let id, let code): seen.append(.reset(id, HTTP2ErrorCode(rawValue: code) ?? .internalError))
    case .writable(let id): seen.append(.writable(id))
    case .connectionWritable: seen.append(.connectionWritable)
    case .goAway(let last, let code): seen.append(.goAway(last, HTTP2ErrorCode(rawValue: code) ?? .internalError))
    case .streamsAvailable: seen.append(.streamsAvailable)
    case .pong(let value): seen.append(.pong(value))
    }
  }

  mutating func send(_ bytes: [UInt8], on stream: UInt32, end: Bool = false) -> Int {
    bytes.withUnsafeBytes { connection.send($0, stream: stream, end: end, into: &out) }
  }

  mutating func open(_ lines: [String] = Self.get, end: Bool = true) -> UInt32? {
    connection.open(Self.head(lines), end: end, into: &out)
  }

  /// Where a stream has to be free.
  mutating func opened(_ lines: [String] = Self.get, end: Bool = true) throws -> UInt32 {
    let stream = open(lines, end: end)
    return try #require(stream)
  }

  mutating func respond(_ status: Int, _ lines: [String] = [], on stream: UInt32, end: Bool = false) {
    var head = Self.head(lines)
    head.setStatus(status)
    connection.respond(head, stream: stream, end: end, into: &out)
  }

  mutating func sendTrailers(_ lines: [String], on stream: UInt32) {
    connection.sendTrailers(Self.head(lines), stream: stream, into: &out)
  }

  mutating func takeOutput() -> [UInt8] {
    defer { out.clear() }
    return Array(out.readableBytesView)
  }

  func data(on stream: UInt32) -> [UInt8] {
    seen.reduce(into: []) { all, event in if case .data(stream, let bytes) = event { all += bytes } }
  }

  /// What was sent, as the codes of the streams' resets.
  mutating func sentResets() -> [UInt32: HTTP2ErrorCode] {
    var codes: [UInt32: HTTP2ErrorCode] = [:]
    for frame in Wire.frames(takeOutput()) where frame.type == 3 {
      codes[frame.stream] = HTTP2ErrorCode(rawValue: frame.payload.reduce(0) { $0 << 8 | UInt32($1) })
    }
    return codes
  }

  static let get = [":method: GET", ":scheme: http", ":path: /", ":authority: a"]
  static let post = [":method: POST", ":scheme: http", ":path: /s/m", ":authority: a"]

  static func pair(_ line: String) -> (String, String) {
    let colon = line.dropFirst().firstIndex(of: ":")!
    return (String(line[..<colon]), String(line[colon...].dropFirst().drop { $0 == " " }))
  }

  static func head(_ lines: [String]) -> HTTPHead {
    var head = HTTPHead()
    for (name, value) in lines.map(pair) {
      switch name {
      case ":method": head.setMethod(value.utf8)
      case ":scheme": head.setScheme(value.utf8)
      case ":path": head.setPath(value.utf8)
      case ":authority": head.setAuthority(value.utf8)
      default: head.append(name, value)
      }
    }
    return head
  }
}

extension Wire {
  /// HEADERS with END_HEADERS, and END_STREAM where `end`.
  static func head(_ stream: UInt32, _ lines: [String], end: Bool = false) -> [UInt8] {
    frame(1, flags: end ? 5 : 4, stream: stream, block(lines.map(HTTP2Peer.pair)))
  }
}

/// Carries bytes between two ends until both are silent.
func exchange(_ left: inout HTTP2Peer, _ right: inout HTTP2Peer, pieces: [Int] = [Int.max], consume: Bool = true) {
  while left.out.readableBytes > 0 || right.out.readableBytes > 0 {
    right.feed(left.takeOutput(), pieces: pieces, consume: consume)
    left.feed(right.takeOutput(), pieces: pieces, consume: consume)
    if left.error != nil || right.error != nil { return }
  }
}
