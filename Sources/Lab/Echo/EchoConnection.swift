import CLinux
import Glibc

/// One connection of the echo server. It stops reading while it holds `highWater` unsent bytes, so that a client
/// that doesn't read is not read from either.
final class EchoConnection {
  private enum Mode {
    /// The first bytes decide.
    case undecided
    case echo
    case http
  }

  static let highWater = 65536
  static let maximumHeadBytes = 16384
  private static let get = Array("GET ".utf8)

  let descriptor: Int32
  private let peer: String
  private let local: String
  private let name: String
  private var mode: Mode
  /// Bytes that decide or begin a request and are not answered yet.
  private var incoming: [UInt8] = []
  private var outgoing: [UInt8] = []
  private var sent = 0
  private var peerEnded = false
  private var endsWhenSent = false

  init(_ descriptor: Int32, peer: String, local: String, name: String, greetsFirst: Bool) {
    self.descriptor = descriptor
    self.peer = peer
    self.local = local
    self.name = name
    mode = greetsFirst ? .echo : .undecided
    if greetsFirst { greet() }
  }

  private var unsent: Int { outgoing.count - sent }
  private var wantsToRead: Bool { !peerEnded && !endsWhenSent && unsent < Self.highWater }

  /// The epoll events to wait for.
  var interest: UInt32 {
    (wantsToRead ? EPOLLIN.rawValue : 0) | (unsent > 0 ? EPOLLOUT.rawValue : 0)
  }

  /// Does what is possible now.
  /// - Returns: false once the connection is over.
  func serve(_ events: UInt32) -> Bool {
    if events & EPOLLERR.rawValue != 0 { return false }
    // Level-triggered: a turn reads once or twice and leaves the rest to the next, for the others' sake.
    for _ in 0..<4 {
      guard flush() else { return false }
      guard wantsToRead else { break }
      guard let isMore = receive() else { return false }
      if !isMore { break }
    }
    guard flush() else { return false }
    // With all sent, the end of one half is the end of both.
    return unsent > 0 || !(endsWhenSent || peerEnded)
  }

  /// nil where the connection failed; false where nothing was there.
  private func receive() -> Bool? {
    let count = withUnsafeTemporaryAllocation(byteCount: 16384, alignment: 1) { buffer -> Int in
      let count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
      if count > 0 { take(UnsafeRawBufferPointer(rebasing: buffer[..<count])) }
      return count
    }
    if count > 0 { return true }
    if count == 0 {
      peerEnded = true
      take(nil)
      return false
    }
    return errno == EAGAIN || errno == EINTR ? false : nil
  }

  /// - Parameter bytes: nil for the end of the client's stream.
  private func take(_ bytes: UnsafeRawBufferPointer?) {
    if mode == .echo {
      if let bytes { outgoing.append(contentsOf: bytes) }
      return
    }
    if let bytes { incoming.append(contentsOf: bytes) }
    if mode == .undecided {
      let isGet = incoming.starts(with: Self.get)
      // A part of "GET " may still become one.
      if !isGet, bytes != nil, incoming.count < Self.get.count, Self.get.starts(with: incoming) { return }
      mode = isGet ? .http : .echo
    }
    switch mode {
    case .http: answerRequests()
    default:
      greet()
      outgoing += incoming
      incoming = []
    }
  }

  private func greet() {
    outgoing += Array("peer=\(peer) local=\(local) name=\(name)\n".utf8)
  }

  private func answerRequests() {
    while !endsWhenSent, let end = Self.headEnd(incoming) {
      let head = String(decoding: incoming[..<end], as: UTF8.self)
      incoming.removeFirst(end)
      let lines = head.split(whereSeparator: \.isNewline)
      let request = (lines.first ?? "").split(separator: " ")
      let isGet = request.count == 3 && request[0] == "GET"
      let mustClose =
        !isGet || request.last == "HTTP/1.0" || lines.contains { $0.lowercased().hasPrefix("connection: close") }
      let body =
        "{\"peer\":\"\(peer)\",\"local\":\"\(local)\",\"name\":\(Self.json(name)),"
        + "\"path\":\(Self.json(request.count > 1 ? String(request[1]) : ""))}\n"
      outgoing += Array(
        ("HTTP/1.1 \(isGet ? "200 OK" : "400 Bad Request")\r\nContent-Type: application/json\r\n"
          + "Content-Length: \(body.utf8.count)\r\n\(mustClose ? "Connection: close\r\n" : "")\r\n\(body)").utf8)
      endsWhenSent = mustClose
    }
    if incoming.count > Self.maximumHeadBytes {
      outgoing += Array("HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\n\r\n".utf8)
      endsWhenSent = true
    }
  }

  private static func headEnd(_ bytes: [UInt8]) -> Int? {
    guard bytes.count >= 4 else { return nil }
    for index in 3..<bytes.count
    where bytes[index] == 10 && bytes[index - 1] == 13 && bytes[index - 2] == 10 && bytes[index - 3] == 13 {
      return index + 1
    }
    return nil
  }

  private static func json(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case _ where scalar.value < 0x20:
        let hex = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }

  /// False where the connection failed.
  private func flush() -> Bool {
    while unsent > 0 {
      let count = outgoing.withUnsafeBytes { bytes in
        send(descriptor, bytes.baseAddress?.advanced(by: sent), unsent, Int32(MSG_NOSIGNAL))
      }
      if count < 0 {
        if errno == EINTR { continue }
        return errno == EAGAIN
      }
      sent += count
      if sent == outgoing.count {
        // A connection at rest holds no buffer.
        outgoing = []
        sent = 0
      } else if sent > Self.highWater {
        outgoing.removeFirst(sent)
        sent = 0
      }
    }
    return true
  }
}
