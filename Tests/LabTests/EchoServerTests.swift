import CLinux
import Foundation
import Testing

@testable import Lab

/// The server is driven from the test's own thread, a turn at a time: nothing here depends on timing.
@Suite struct EchoServerTests {
  @Test("The facts first, then the bytes; the stream ends when both have ended")
  func halfClose() throws {
    let server = try makeServer()
    let client = try Client(port: server.tcpPort)
    client.send("one ")
    let line = "peer=\(client.address) local=127.0.0.1:\(server.tcpPort) name=test\n"
    #expect(try client.read(line.utf8.count + 4, server) == line + "one ")
    client.send("two")
    shutdown(client.descriptor, Int32(SHUT_WR))
    #expect(try client.readToEnd(server) == "two")
  }

  @Test("A client that says nothing gets the facts at its end")
  func silent() throws {
    let server = try makeServer()
    let client = try Client(port: server.tcpPort)
    shutdown(client.descriptor, Int32(SHUT_WR))
    #expect(try client.readToEnd(server).hasSuffix(" name=test\n"))
  }

  @Test("Bytes that only begin like HTTP", arguments: ["G", "GE", "GETTING"])
  func almostHTTP(_ text: String) throws {
    let server = try makeServer()
    let client = try Client(port: server.tcpPort)
    client.send(text)
    for _ in 0..<5 { try server.turn(timeoutMilliseconds: 1) }
    shutdown(client.descriptor, Int32(SHUT_WR))
    #expect(try client.readToEnd(server).hasSuffix("name=test\n\(text)"))
  }

  @Test("GET, twice on one connection, in pieces")
  func http() throws {
    let server = try makeServer()
    let client = try Client(port: server.tcpPort)
    let body =
      "{\"peer\":\"\(client.address)\",\"local\":\"127.0.0.1:\(server.tcpPort)\",\"name\":\"test\",\"path\":\"/a\"}\n"
    let answer =
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    for piece in ["GE", "T /a HTTP/1.1\r\nHost: x\r\n", "\r\n"] {
      client.send(piece)
      try server.turn(timeoutMilliseconds: 5)
      try server.turn(timeoutMilliseconds: 5)
    }
    #expect(try client.read(answer.utf8.count, server) == answer)
    client.send("GET /a HTTP/1.1\r\nConnection: close\r\n\r\n")
    #expect(try client.readToEnd(server).hasSuffix("Connection: close\r\n\r\n\(body)"))
  }

  @Test("A head without end is refused")
  func hugeHead() throws {
    let server = try makeServer()
    let client = try Client(port: server.tcpPort)
    client.send("GET / HTTP/1.1\r\n" + String(repeating: "x", count: 20_000))
    #expect(try client.readToEnd(server).hasPrefix("HTTP/1.1 431 "))
  }

  @Test("A client that doesn't read is not read from for ever")
  func backpressure() throws {
    let server = try makeServer()
    let client = try Client(port: server.tcpPort)
    let chunk = [UInt8](repeating: 7, count: 65536)
    var taken = 0
    var stalls = 0
    // What fits is bounded by the socket buffers (a few MB each way) and the server's own 64 KiB.
    while stalls < 50, taken < 256 << 20 {
      let count = Foundation.send(client.descriptor, chunk, chunk.count, Int32(MSG_DONTWAIT))
      stalls = count > 0 ? 0 : stalls + 1
      taken += max(0, count)
      try server.turn(timeoutMilliseconds: 1)
    }
    #expect(taken < 64 << 20)
    shutdown(client.descriptor, Int32(SHUT_WR))
    let line = "peer=\(client.address) local=127.0.0.1:\(server.tcpPort) name=test\n"
    #expect(try client.countToEnd(server) == taken + line.utf8.count)
  }

  @Test func greetsFirst() throws {
    let server = try makeServer(greetsFirst: true)
    let client = try Client(port: server.tcpPort)
    let line = "peer=\(client.address) local=127.0.0.1:\(server.tcpPort) name=test\n"
    #expect(try client.read(line.utf8.count, server) == line)
  }

  @Test func datagrams() throws {
    let server = try makeServer()
    let client = try Client(port: server.udpPort, type: SOCK_DGRAM)
    client.send("datagram")
    #expect(try client.read(8, server) == "datagram")
  }

  /// Both ends are in this process: 18,000 descriptors and some.
  static let hasDescriptors: Bool = {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return limit.rlim_max >= 19_000
  }()

  @Test("9,000 connections at once", .enabled(if: hasDescriptors, "needs a hard limit of 19,000 descriptors"))
  func manyConnections() throws {
    let server = try makeServer()
    var clients: [Client] = []
    for index in 0..<9_000 {
      clients.append(try Client(port: server.tcpPort))
      clients[index].send("\(index)\n")
      if index % 200 == 199 { try server.turn(timeoutMilliseconds: 0) }
    }
    for (index, client) in clients.enumerated() {
      shutdown(client.descriptor, Int32(SHUT_WR))
      #expect(try client.readToEnd(server).hasSuffix("name=test\n\(index)\n"))
    }
  }

  @Test("Told to end, it serves on for its time")
  func drain() throws {
    // A port that was free a moment ago.
    let port = try makeServer().tcpPort
    let process = try Program.start(["echo", "--tcp", "\(port)", "--drain", "6"])
    defer { process.terminate() }
    func connects() -> Bool { (try? Client(port: port)) != nil }
    func isSoon(_ condition: () -> Bool) -> Bool {
      for _ in 0..<200 {
        if condition() { return true }
        usleep(50_000)
      }
      return false
    }
    #expect(isSoon(connects))
    // It listens a moment before it knows what to do when it is told to end.
    usleep(300_000)
    process.terminate()
    usleep(300_000)
    #expect(process.isRunning && connects())
    #expect(isSoon { !process.isRunning })
    #expect(process.terminationReason == .exit && process.terminationStatus == 0)
  }

  private func makeServer(greetsFirst: Bool = false) throws -> EchoServer {
    var options = EchoServer.Options()
    options.tcpPorts = [0]
    options.udpPorts = [0]
    options.name = "test"
    options.greetsFirst = greetsFirst
    return try EchoServer(options)
  }
}

/// A client on 127.0.0.1, whose reads give the server its turns.
private final class Client {
  let descriptor: Int32
  let address: String

  init(port: UInt16, type: __socket_type = SOCK_STREAM) throws {
    let descriptor = socket(AF_INET, Int32(type.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var target = sockaddr_in()
    target.sin_family = sa_family_t(AF_INET)
    target.sin_port = port.bigEndian
    target.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let result = withUnsafePointer(to: &target) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard result == 0 else { throw LabError("connecting to port \(port): \(Errno.text(errno))") }
    self.descriptor = descriptor
    address = SocketName.local(descriptor).description
  }

  deinit { close(descriptor) }

  func send(_ text: String) {
    _ = Foundation.send(descriptor, text, text.utf8.count, Int32(MSG_NOSIGNAL))
  }

  func read(_ count: Int, _ server: EchoServer) throws -> String {
    var bytes: [UInt8] = []
    _ = try receive(server) { part in
      bytes += part
      return bytes.count < count
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  func readToEnd(_ server: EchoServer) throws -> String {
    var bytes: [UInt8] = []
    let hasEnded = try receive(server) { part in
      bytes += part
      return true
    }
    try #require(hasEnded)
    return String(decoding: bytes, as: UTF8.self)
  }

  func countToEnd(_ server: EchoServer) throws -> Int {
    var total = 0
    let hasEnded = try receive(server) { part in
      total += part.count
      return true
    }
    try #require(hasEnded)
    return total
  }

  /// Until the stream's end (true), until `take` says enough, or until nothing came for 5 s.
  private func receive(_ server: EchoServer, _ take: (ArraySlice<UInt8>) -> Bool) throws -> Bool {
    var buffer = [UInt8](repeating: 0, count: 65536)
    var idleTurns = 0
    while idleTurns < 500 {
      let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
      if count == 0 { return true }
      if count > 0 {
        idleTurns = 0
        if !take(buffer[..<count]) { return false }
      } else {
        idleTurns += 1
        try server.turn(timeoutMilliseconds: 10)
      }
    }
    return false
  }
}
