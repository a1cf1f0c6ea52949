import NIOCore
import NIOHPACK

@testable import ProxyCore

/// An event whose bytes outlive the call that yielded it.
enum Seen: Equatable {
  case request(UInt32, HBONERequest)
  case response(UInt32, Int)
  case data(UInt32, [UInt8])
  case ended(UInt32)
  case reset(UInt32, UInt32)
  case writable(UInt32)
  case connectionWritable
  case goAway(UInt32, UInt32)

  init(_ event: HBONEConnection.Event) {
    switch event {
    case .request(let id, let request): self = .request(id, request)
    case .response(let id, let status): self = .response(id, status)
    case .data(let id, let bytes): self = .data(id, Array(bytes))
    case .ended(let id): self = .ended(id)
    case .reset(let id, let code): self = .reset(id, code)
    case .writable(let id): self = .writable(id)
    case .connectionWritable: self = .connectionWritable
    case .goAway(let last, let code): self = .goAway(last, code)
    }
  }
}

/// One end of a connection, with what it has seen and what it wants to send.
struct HBONEPeer {
  var connection: HBONEConnection
  var out = ByteBuffer()
  var seen: [Seen] = []
  var error: HTTP2Error?

  init(_ role: HBONEConnection.Role, limits: HBONEConnection.Limits = .init()) {
    connection = HBONEConnection(role: role, limits: limits, into: &out)
  }

  /// A server that has had its client's preface and settings.
  static func greetedServer(limits: HBONEConnection.Limits = .init()) -> HBONEPeer {
    var server = HBONEPeer(.server, limits: limits)
    server.feed(Wire.greeting)
    server.forget()
    return server
  }

  /// A client that has had its server's settings.
  static func greetedClient(limits: HBONEConnection.Limits = .init()) -> HBONEPeer {
    var client = HBONEPeer(.client, limits: limits)
    client.feed(Wire.settings([]))
    client.forget()
    return client
  }

  mutating func forget() {
    seen = []
    out.clear()
  }

  /// Hands `bytes` on in pieces of `pieces` bytes each, the last size again and again. Data of one stream that
  /// arrives in a row is joined, so that cuts don't show.
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

  private mutating func note(_ event: HBONEConnection.Event, consume: Bool) {
    let event = Seen(event)
    guard case .data(let id, let bytes) = event else { return seen.append(event) }
    if consume { connection.consumed(bytes.count, stream: id, into: &out) }
    if case .data(id, let before) = seen.last {
      seen[seen.count - 1] = .data(id, before + bytes)
    } else {
      seen.append(event)
    }
  }

  mutating func send(_ bytes: [UInt8], on stream: UInt32) -> Int {
    bytes.withUnsafeBytes { connection.send($0, stream: stream, into: &out) }
  }

  mutating func takeOutput() -> [UInt8] {
    defer { out.clear() }
    return Array(out.readableBytesView)
  }

  /// All data seen on one stream.
  func data(on stream: UInt32) -> [UInt8] {
    seen.reduce(into: []) { all, event in if case .data(stream, let bytes) = event { all += bytes } }
  }
}

/// Carries bytes between two ends until both are silent.
func exchange(_ left: inout HBONEPeer, _ right: inout HBONEPeer, consume: Bool = true) {
  while left.out.readableBytes > 0 || right.out.readableBytes > 0 {
    let fromLeft = left.takeOutput()
    right.feed(fromLeft, consume: consume)
    let fromRight = right.takeOutput()
    left.feed(fromRight, consume: consume)
    if left.error != nil || right.error != nil { return }
  }
}

/// Frames by hand.
enum Wire {
  static func frame(_ type: UInt8, flags: UInt8 = 0, stream: UInt32 = 0, _ payload: [UInt8] = []) -> [UInt8] {
    let length = payload.count
    return [
      UInt8(truncatingIfNeeded: length >> 16), UInt8(truncatingIfNeeded: length >> 8),
      UInt8(truncatingIfNeeded: length),
    ]
      + [type, flags] + word(stream) + payload
  }

  static func word(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }

  static var preface: [UInt8] { Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) }
  static var greeting: [UInt8] { preface + settings([]) }

  static func settings(_ values: [(UInt16, UInt32)]) -> [UInt8] {
    frame(4, values.flatMap { [UInt8($0.0 >> 8), UInt8(truncatingIfNeeded: $0.0)] + word($0.1) })
  }

  static func data(_ bytes: [UInt8], stream: UInt32, end: Bool = false) -> [UInt8] {
    frame(0, flags: end ? 1 : 0, stream: stream, bytes)
  }

  static func reset(_ stream: UInt32, _ code: UInt32 = 8) -> [UInt8] { frame(3, stream: stream, word(code)) }
  static func windowUpdate(_ stream: UInt32, _ credit: UInt32) -> [UInt8] { frame(8, stream: stream, word(credit)) }
  static func ping(_ flags: UInt8 = 0) -> [UInt8] { frame(6, flags: flags, Array(repeating: 7, count: 8)) }

  /// A header block without the dynamic table: independent of what came before.
  static func block(_ fields: [(String, String)]) -> [UInt8] {
    fields.flatMap { name, value in [0x10] + text(name) + text(value) }
  }

  private static func text(_ text: String) -> [UInt8] {
    let bytes = Array(text.utf8)
    guard bytes.count >= 127 else { return [UInt8(bytes.count)] + bytes }
    // An integer with a 7-bit prefix (RFC 7541 §5.1).
    var length: [UInt8] = [127]
    var rest = bytes.count - 127
    while rest >= 128 {
      length.append(UInt8(rest & 127) | 128)
      rest >>= 7
    }
    return length + [UInt8(rest)] + bytes
  }

  static let connectFields = [(":method", "CONNECT"), (":authority", "10.0.0.1:80")]

  static func connect(_ stream: UInt32, flags: UInt8 = 4, _ fields: [(String, String)] = connectFields) -> [UInt8] {
    frame(1, flags: flags, stream: stream, block(fields))
  }

  /// Cuts output into (type, flags, stream, payload).
  static func frames(_ bytes: [UInt8]) -> [(type: UInt8, flags: UInt8, stream: UInt32, payload: [UInt8])] {
    var rest = bytes[...]
    var found: [(type: UInt8, flags: UInt8, stream: UInt32, payload: [UInt8])] = []
    while rest.count >= 9 {
      let head = Array(rest.prefix(9))
      let length = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
      let stream = head[5...].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
      found.append((head[3], head[4], stream, Array(rest.dropFirst(9).prefix(length))))
      rest = rest.dropFirst(9 + length)
    }
    return found
  }
}
