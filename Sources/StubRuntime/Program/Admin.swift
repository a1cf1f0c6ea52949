import CLinux
import CStub
import Glibc
import MeshModel
import StubCore

/// The local socket that `weft-stub status` and `quit` use: an abstract name of the pod's network namespace, so no folder
/// has to be shared. Only root and the stub's own user are answered.
final class LocalListener: EventSource {
  private unowned let stub: Stub

  init(stub: Stub) throws(SystemFailure) {
    self.stub = stub
    let fd = stub_listen_local(RunOptions.adminName)
    guard fd >= 0 else { throw SystemFailure(-fd, "listen on the local socket @\(RunOptions.adminName)") }
    super.init(fd: fd)
    try stub.loop.add(self)
  }

  override func handle(_ events: UInt32) {
    while true {
      let fd = weft_accept(self.fd, nil, nil)
      guard fd >= 0 else { return }
      let user = stub_peer_user(fd)
      guard user == 0 || user == Int64(getuid()) else {
        close(fd)
        continue
      }
      stub.heartbeat?.asked()
      Answering.start(fd, stub: stub, isLocal: true, peer: SocketAddress(.loopbackV4, 0))
    }
  }
}

/// One question, one answer: an HTTP/1 request on the health port, or a word on the local socket.
final class Answering: EventSource {
  private static let requestBytes = 4096
  /// Of the port's connections; and of the local socket's.
  private static let bound = 32
  /// The oldest first. Only the loop's thread uses it.
  nonisolated(unsafe) private static var open: [Answering] = []

  private unowned let stub: Stub
  private let isLocal: Bool
  private let peer: SocketAddress
  private var request: [UInt8] = []
  private let deadline: Int64

  /// Where there is no room for one more, the oldest of its kind goes: anybody reaches the port, and must keep out
  /// neither probes nor those at the local socket.
  static func start(_ fd: Int32, stub: Stub, isLocal: Bool, peer: SocketAddress) {
    let others = open.filter { $0.isLocal == isLocal }
    if others.count >= bound { others[0].end() }
    if (try? Answering(fd, stub, isLocal, peer)) == nil { close(fd) }
  }

  private init(_ fd: Int32, _ stub: Stub, _ isLocal: Bool, _ peer: SocketAddress) throws(SystemFailure) {
    self.stub = stub
    self.isLocal = isLocal
    self.peer = peer
    deadline = stub.loop.now + 5_000_000_000
    super.init(fd: fd)
    try stub.loop.add(self)
    Self.open.append(self)
  }

  override func sweep(now: Int64) {
    if now > deadline { end() }
  }

  private func end() {
    guard isRegistered else { return }
    Self.open.removeAll { $0 === self }
    stub.loop.close(self)
  }

  override func handle(_ events: UInt32) {
    while true {
      let count = recv(fd, stub.loop.scratch.baseAddress, 1024, 0)
      if count > 0 {
        request += stub.loop.scratch[..<count]
        if request.count > Self.requestBytes { return end() }
        continue
      }
      if count == 0 || errno != EAGAIN { return end() }
      break
    }
    guard request.contains(UInt8(ascii: "\n")) else { return }
    let line = String(decoding: request.prefix { $0 != 0x0a && $0 != 0x0d }, as: UTF8.self)
    answer(isLocal ? local(line) : http(line))
    end()
  }

  private func answer(_ text: String) {
    var text = text
    text.withUTF8 { _ = send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    shutdown(fd, Int32(SHUT_WR))
  }

  private func local(_ word: String) -> String {
    switch word {
    case "status": return stub.status + "\n"
    case "quit":
      stub.drain("asked to quit")
      return "quitting\n"
    default: return "unknown\n"
    }
  }

  private func http(_ line: String) -> String {
    let parts = line.split(separator: " ")
    guard parts.count == 3 else { return Self.response("400 Bad Request", "") }
    switch (parts[0], parts[1]) {
    case ("GET", "/healthz/ready"):
      return stub.isReady
        ? Self.response("200 OK", "ready\n") : Self.response("503 Service Unavailable", stub.whyNotReady + "\n")
    case ("GET", "/healthz/live"): return Self.response("200 OK", "live\n")
    // For an application's own wrapper: as local as the pod's loopback.
    case ("POST", "/quit") where peer.ip.isLoopback:
      stub.drain("asked to quit")
      return Self.response("200 OK", "quitting\n")
    default: return Self.response("404 Not Found", "")
    }
  }

  private static func response(_ status: String, _ body: String) -> String {
    "HTTP/1.1 \(status)\r\nContent-Type: text/plain\r\nContent-Length: \(body.utf8.count)\r\nConnection: close\r\n\r\n\(body)"
  }
}

extension Stub {
  var whyNotReady: String {
    if isDraining { return "draining" }
    if tunnels.credentials == nil { return "no certificate: \(certificates.renewal.lastError ?? "asked for")" }
    return "no mesh from the control plane: \(control.lastError ?? "asked for")"
  }

  /// For people and programs: one JSON object.
  var status: String {
    var text = JSONText()
    text.set("mode", "tunnel")
    text.set("pod", options.pod.workload)
    text.set("identity", options.identity.description)
    text.set("ready", isReady)
    if !isReady { text.set("reason", whyNotReady) }
    text.set("certificate_expires", certificates.renewal.notAfter.map(utcText))
    text.set("certificate_error", certificates.renewal.lastError)
    text.set("mutual_tls", delta.table.config.isStrict ? "STRICT" : "PERMISSIVE")
    var link = JSONText()
    link.set("address", options.control.description)
    link.set("connected", control.isConnected)
    link.set("error", control.lastError)
    link.set("workloads", delta.table.workloadCount)
    link.set("services", delta.table.serviceCount)
    link.set("rejected", delta.rejected.count)
    text.set("control", link)
    var connections = JSONText()
    connections.set("inbound", sessions.values.count { $0.direction == .inbound })
    connections.set("outbound", sessions.values.count { $0.direction == .outbound })
    connections.set("tunnels_inbound", inboundTunnels.count)
    connections.set("tunnels_outbound", tunnels.count)
    connections.set("established", counters.established)
    connections.set("failed", counters.failed)
    connections.set("refused", counters.refused)
    connections.set("bytes_down", sessions.values.reduce(counters.bytesDown) { $0 + $1.bytesDown })
    connections.set("bytes_up", sessions.values.reduce(counters.bytesUp) { $0 + $1.bytesUp })
    text.set("connections", connections)
    text.set("resident_bytes", Int(stub_resident_bytes()))
    return text.text
  }
}
