import CLinux
import Foundation
import MeshModel

/// Asks a container, from its node's own address.
enum Prober {
  /// Of an answer's head; nothing is read beyond it.
  private static let maximumBytes = 8 << 10

  /// - Parameter execute: runs a command in the container and tells its status, or nil where it took too long.
  static func ask(
    _ probe: ProbeSpec, address: String, node: LabState.Node, layout: Layout,
    execute: @Sendable ([String], Int64) async -> ProcessEnd?
  ) async -> Bool {
    switch probe.check {
    case .exec(let command): return await execute(command, probe.timeout) == .code(0)
    case .tcp(let host, let port):
      return await run { connect(host.isEmpty ? address : host, port, probe, node, layout) { _ in true } }
    case .http(let http):
      return await run {
        let host = http.host.isEmpty ? address : http.host
        if http.isTLS { return curl(http, host, probe, node, layout) }
        return connect(host, http.port, probe, node, layout) { get(http, host, $0) }
      }
    case .unknown: return false
    }
  }

  private static func run(_ body: @escaping @Sendable () -> Bool) async -> Bool {
    (try? await Blocking.run(body)) ?? false
  }

  private static func connect(
    _ host: String, _ port: UInt16, _ probe: ProbeSpec, _ node: LabState.Node, _ layout: Layout,
    _ body: (Int32) -> Bool
  ) -> Bool {
    guard let address = IPAddress(host)?.v4 else { return false }
    let namespace = open(layout.namespacePath(node.networkNamespace), O_RDONLY | O_CLOEXEC)
    guard namespace >= 0 else { return false }
    defer { close(namespace) }
    let connection = weft_container_connect(namespace, address, port, Int32(probe.timeout))
    guard connection >= 0 else { return false }
    defer { close(connection) }
    return body(connection)
  }

  private static func get(_ http: ProbeSpec.HTTPCheck, _ host: String, _ connection: Int32) -> Bool {
    var head = "GET \(http.path) HTTP/1.1\r\n"
    let names = Set(http.headers.map { $0[0].lowercased() })
    if !names.contains("host") { head += "Host: \(host):\(http.port)\r\n" }
    if !names.contains("user-agent") { head += "User-Agent: kube-probe/weft-lab\r\n" }
    for header in http.headers { head += "\(header[0]): \(header[1])\r\n" }
    head += "Connection: close\r\n\r\n"
    guard (try? Files.write(Array(head.utf8), to: connection, name: "a probe")) != nil else { return false }
    var answer: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1024)
    while answer.count < maximumBytes, !answer.contains(UInt8(ascii: "\n")) {
      let count = read(connection, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { break }
      answer += buffer[..<count]
    }
    return isSuccess(String(decoding: answer, as: UTF8.self))
  }

  /// 200 to 399, by the status line.
  static func isSuccess(_ answer: String) -> Bool {
    let parts = answer.prefix { !$0.isNewline }.split(separator: " ")
    guard parts.count >= 2, parts[0].hasPrefix("HTTP/"), let status = Int(parts[1]) else { return false }
    return (200..<400).contains(status)
  }

  private static func curl(
    _ http: ProbeSpec.HTTPCheck, _ host: String, _ probe: ProbeSpec, _ node: LabState.Node, _ layout: Layout
  ) -> Bool {
    // As kubelet: no certificate is checked.
    let arguments =
      [
        "--silent", "--insecure", "--output", "/dev/null", "--write-out", "HTTP/1.1 %{http_code}", "--max-time",
        String(Double(probe.timeout) / 1000),
      ] + http.headers.flatMap { ["--header", "\($0[0]): \($0[1])"] } + ["https://\(host):\(http.port)\(http.path)"]
    let answer = try? Tool.run(
      "curl", arguments, networkNamespace: layout.namespacePath(node.networkNamespace))
    return isSuccess(answer ?? "")
  }
}
