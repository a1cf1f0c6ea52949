import CLinux
import Glibc

@testable import ProxyRuntime

/// One end of a connection of HTTP/1.1, whose every byte the test says and sees.
final class HTTPPeer {
  /// A message as it came.
  struct Message {
    var start: String
    var fields: [(name: String, value: String)]
    var body: [UInt8] = []
    /// Between the first space and the second.
    var target: String { start.split(separator: " ").dropFirst().first.map(String.init) ?? "" }
    var status: Int { Int(target) ?? 0 }
    var text: String { String(decoding: body, as: UTF8.self) }

    /// The values of a field of that name, lower case.
    func values(_ name: String) -> [String] { fields.filter { $0.name.lowercased() == name }.map(\.value) }
    subscript(_ name: String) -> String? { values(name).first }
  }

  let socket: TestSocket
  private var input: [UInt8] = []
  private var isOpen = true

  init(_ socket: TestSocket) { self.socket = socket }
  deinit { close() }

  func close() {
    if isOpen { socket.close() }
    isOpen = false
  }

  func reset() {
    if isOpen { socket.reset() }
    isOpen = false
  }

  func write(_ text: String) throws { try socket.write(Array(text.utf8)) }

  func get(_ path: String = "/", _ fields: String...) throws {
    try write("GET \(path) HTTP/1.1\r\nHost: web\r\n\(fields.map { $0 + "\r\n" }.joined())\r\n")
  }

  func post(_ path: String = "/", _ body: String, _ fields: String...) throws {
    try write(
      "POST \(path) HTTP/1.1\r\nHost: web\r\nContent-Length: \(body.utf8.count)\r\n"
        + "\(fields.map { $0 + "\r\n" }.joined())\r\n\(body)")
  }

  func respond(_ status: Int = 200, _ body: String = "", _ fields: String...) throws {
    try write(
      "HTTP/1.1 \(status) x\r\nContent-Length: \(body.utf8.count)\r\n\(fields.map { $0 + "\r\n" }.joined())\r\n\(body)")
  }

  /// The next message; its body by Content-Length or chunks, else none.
  /// - Parameter toHead: no body whatever it says.
  func read(toHead: Bool = false) throws -> Message {
    var message = try readHead()
    guard !toHead else { return message }
    if let length = message["content-length"].flatMap({ Int($0) }) {
      message.body = try take(length)
    } else if message["transfer-encoding"] == "chunked" {
      while true {
        let size = Int(try line(), radix: 16) ?? -1
        guard size >= 0 else { throw SystemError(EPROTO, "read a chunk") }
        if size == 0 { break }
        message.body += try take(size)
        guard try line().isEmpty else { throw SystemError(EPROTO, "read a chunk's end") }
      }
      while true {
        let trailer = try line()
        if trailer.isEmpty { break }
        message.fields.append(Self.field(trailer))
      }
    }
    return message
  }

  func readHead() throws -> Message {
    var message = Message(start: try line(), fields: [])
    while true {
      let text = try line()
      if text.isEmpty { return message }
      message.fields.append(Self.field(text))
    }
  }

  /// Up to the connection's end.
  func readToEnd() throws -> [UInt8] {
    while try fill() {}
    defer { input = [] }
    return input
  }

  /// Whether nothing comes within `milliseconds`.
  func isSilent(for milliseconds: Int32 = 30) -> Bool {
    guard input.isEmpty else { return false }
    var poll = pollfd(fd: socket.fd, events: Int16(POLLIN), revents: 0)
    return Glibc.poll(&poll, 1, milliseconds) == 0
  }

  private static func field(_ line: String) -> (name: String, value: String) {
    let parts = line.split(separator: ":", maxSplits: 1).map(String.init)
    return (parts[0], parts.count > 1 ? String(parts[1].drop { $0 == " " }) : "")
  }

  /// false at the end.
  private func fill() throws -> Bool {
    let some = try socket.readSome()
    input += some
    return !some.isEmpty
  }

  private func line() throws -> String {
    while true {
      if let end = input.firstIndex(of: 10) {
        guard end > 0, input[end - 1] == 13 else { throw SystemError(EPROTO, "read a line") }
        defer { input.removeFirst(end + 1) }
        return String(decoding: input[..<(end - 1)], as: UTF8.self)
      }
      guard try fill() else { throw SystemError(EPIPE, "read a line") }
    }
  }

  func take(_ count: Int) throws -> [UInt8] {
    while input.count < count {
      guard try fill() else { throw SystemError(EPIPE, "read a body") }
    }
    defer { input.removeFirst(count) }
    return Array(input.prefix(count))
  }
}
