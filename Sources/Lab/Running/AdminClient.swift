import Foundation

/// Asks an agent over its Unix socket: one HTTP/1.1 request a connection.
struct AdminClient {
  let socket: String

  static let maximumBytes = 32 << 20
  static let timeoutSeconds = 3

  /// The body of a 200 answer, or nil where nobody answers, or otherwise.
  func get(_ path: String) -> Data? {
    guard let descriptor = UnixSocket.connect(socket, timeoutSeconds: Self.timeoutSeconds) else { return nil }
    defer { close(descriptor) }
    let request = "GET \(path) HTTP/1.1\r\nHost: weft\r\nConnection: close\r\n\r\n"
    guard (try? Files.write(Array(request.utf8), to: descriptor, name: socket)) != nil,
      let answer = try? Files.read(descriptor, limit: Self.maximumBytes)
    else { return nil }
    return Self.body(answer)
  }

  func get<T: Decodable>(_ path: String, as type: T.Type) -> T? {
    get(path).flatMap { try? JSONDecoder().decode(type, from: $0) }
  }

  /// The body of a whole answer with status 200; plain or chunked.
  static func body(_ answer: [UInt8]) -> Data? {
    let separator = Array("\r\n\r\n".utf8)
    guard let end = answer.firstRange(of: separator) else { return nil }
    let head = String(decoding: answer[..<end.lowerBound], as: UTF8.self).lowercased()
    let lines = head.components(separatedBy: "\r\n")
    let status = lines[0].split(separator: " ")
    guard status.count >= 2, status[1] == "200" else { return nil }
    let body = answer[end.upperBound...]
    let isChunked = lines.contains { $0.hasPrefix("transfer-encoding:") && $0.hasSuffix("chunked") }
    return isChunked ? unchunked(body) : Data(body)
  }

  private static func unchunked(_ bytes: ArraySlice<UInt8>) -> Data? {
    var rest = bytes
    var data = Data()
    while let end = rest.firstRange(of: Array("\r\n".utf8)) {
      let size = String(decoding: rest[..<end.lowerBound], as: UTF8.self).split(separator: ";").first ?? ""
      guard let count = Int(size, radix: 16), count >= 0 else { return nil }
      rest = rest[end.upperBound...]
      if count == 0 { return data }
      guard rest.count >= count + 2 else { return nil }
      data.append(contentsOf: rest.prefix(count))
      rest = rest.dropFirst(count + 2)
    }
    return nil
  }
}

/// The part of `/v1/status` that the lab reads.
struct AgentStatus: Decodable {
  struct Proxy: Decodable {
    var pid: Int32?
    var state: String
  }
  struct Control: Decodable {
    var connected: Bool
    var lastError: String?

    enum CodingKeys: String, CodingKey {
      case connected
      case lastError = "last_error"
    }
  }
  var proxy: Proxy
  var control: Control
}

/// The part of `/v1/workloads` that the lab reads.
struct AgentWorkloads: Decodable {
  struct Workload: Decodable {
    var uid: String
    var state: String
    var reason: String?
  }
  var workloads: [Workload]
}
