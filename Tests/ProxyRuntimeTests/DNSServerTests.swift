import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// DNS over real sockets. Which server a pod asked is capture's to say, so forwarding over UDP belongs to the
  /// end-to-end tests.
  @Suite struct DNSServerTests {
    private let node: TestNode

    init() throws {
      node = try TestNode()
      var update = snapshotUpdate([.at("shop/a", "127.77.1.1"), .at("shop/b", "127.77.1.2")])
      update.services = [
        Service(
          key: ServiceKey(namespace: "shop", name: "web"), addresses: [IPAddress("10.96.0.1")!],
          ports: [.init(port: 80)])
      ]
      try node.apply(update)
    }

    private func query(_ name: String, id: UInt16 = 0x1234, type: UInt8 = 1) -> [UInt8] {
      [UInt8(id >> 8), UInt8(truncatingIfNeeded: id), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        + name.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0, 0, type, 0, 1]
    }

    private func framed(_ message: [UInt8]) -> [UInt8] {
      [UInt8(message.count >> 8), UInt8(truncatingIfNeeded: message.count)] + message
    }

    private func readMessage(_ socket: TestSocket) throws -> [UInt8] {
      let length = try socket.read(2)
      guard length.count == 2 else { return [] }
      return try socket.read(Int(length[0]) << 8 | Int(length[1]))
    }

    private func datagramServer() throws -> (fd: Int32, address: SocketAddress) {
      let fd = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
      var raw = sockaddr_in()
      raw.sin_family = sa_family_t(AF_INET)
      raw.sin_addr.s_addr = inet_addr("127.77.1.1")
      _ = withUnsafePointer(to: &raw) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
      }
      var on: Int32 = 1
      setsockopt(fd, Int32(IPPROTO_IP), IP_PKTINFO, &on, 4)
      return (fd, Socket.localAddress(fd)!)
    }

    private func datagramClient(to server: SocketAddress) -> TestSocket {
      let client = TestSocket(fd: socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0))
      _ = Socket.connect(client.fd, to: server)
      return client
    }

    @Test func datagrams() throws {
      defer { node.stop() }
      let (fd, address) = try datagramServer()
      let upstream = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
      node.addPod("shop/a", listeners: [(.dns, fd), (.dnsUpstream, upstream)])
      let client = datagramClient(to: address)
      defer { client.close() }
      try client.write(query("web.shop.svc.cluster.local", id: 7))
      let answer = try client.readSome()
      #expect(answer.prefix(4) == [0, 7, 0x85, 0x00] || answer.prefix(4) == [0, 7, 0x85, 0x80])
      #expect(answer.suffix(4) == [10, 96, 0, 1])
      try client.write(query("nobody.shop.svc.cluster.local", id: 8))
      #expect(try client.readSome()[3] & 0xf == 3)
      // Short, empty, huge and looping packets do no harm; what follows is answered.
      for packet in [[], [1], Array(repeating: 0, count: 11), query("x") + Array(repeating: 0, count: 9000)] {
        try client.write(packet)
      }
      try client.write([0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1])
      // No server is known without capture: a name of the world outside gets no answer, and a line in the log.
      try client.write(query("example.com", id: 10))
      #expect(node.logged("no DNS server is known"))
      try client.write(query("web", id: 11))
      var last: [UInt8] = []
      repeat { last = try client.readSome() } while last[1] != 11
      #expect(last.suffix(4) == [10, 96, 0, 1])
      node.post(.removePod(id: "shop/a", runsOn: false))
      _ = try node.on { _ in }
      #expect((try? client.write(query("web"))) == nil || client.receiveError() == ECONNREFUSED)
    }

    /// A connection of the pod's to a DNS server, as capture leads it here.
    private func stream(to server: SocketAddress) throws -> TestSocket {
      let listener = try TestSocket.listening(isBlocking: false)
      let address = listener.address
      try node.on { worker in
        let pod = worker.pods["shop/a"]!
        pod.listeners.append(
          try TCPListener(fd: listener.fd, loop: worker.loop, report: { _ in }) { [unowned worker] fd, _ in
            guard let stream = worker.accept(fd) else { return }
            worker.serveDNS(over: stream, from: pod, server: server)
          })
      }
      return try TestSocket.connected(to: address)
    }

    @Test func namesOfTheMeshOverTCP() throws {
      defer { node.stop() }
      node.addPod("shop/a")
      let client = try stream(to: SocketAddress("127.0.0.1:9")!)
      // One byte at a time, then several in one piece.
      for byte in framed(query("web", id: 1)) { try client.write([byte]) }
      #expect(try readMessage(client).suffix(4) == [10, 96, 0, 1])
      try client.write((2...60).flatMap { framed(query("web", id: $0)) })
      client.endWriting()
      for id in 2...60 as ClosedRange<UInt8> { #expect(try readMessage(client).prefix(2) == [0, id]) }
      #expect(try client.readToEnd() == [])
      client.close()
    }

    @Test func otherNamesGoOnToTheServer() throws {
      defer { node.stop() }
      node.addPod("shop/a")
      let server = try TestSocket.listening()
      defer { server.close() }
      let client = try stream(to: server.address)
      // More at once than may be outstanding.
      let count = 250
      try client.write((0..<count).flatMap { framed(query("n\($0).example.com", id: UInt16($0))) })
      client.endWriting()
      let answering = inBackground {
        let connection = try server.accept()
        for _ in 0..<count {
          var message = try readMessage(connection)
          message[2] |= 0x80
          try connection.write(framed(message))
        }
        return connection
      }
      var ids: Set<UInt16> = []
      for _ in 0..<count {
        let message = try readMessage(client)
        try #require(message.count > 12)
        #expect(message[2] & 0x80 != 0)
        ids.insert(UInt16(message[0]) << 8 | UInt16(message[1]))
      }
      #expect(ids == Set((0..<count).map { UInt16($0) }))
      #expect(try client.readToEnd() == [])
      client.close()
      try answering.get().close()
    }

    @Test func aServerThatIsNotThereIsAFailure() throws {
      defer { node.stop() }
      node.addPod("shop/a")
      let dead = try TestSocket.listening()
      let address = dead.address
      dead.close()
      let client = try stream(to: address)
      for id in 1...3 as ClosedRange<UInt16> {
        try client.write(framed(query("example.com", id: id)))
        let answer = try readMessage(client)
        #expect(answer.prefix(2) == [0, UInt8(id)])
        #expect(answer[3] & 0xf == 2)
      }
      // The mesh's names don't need it.
      try client.write(framed(query("web", id: 9)))
      #expect(try readMessage(client).suffix(4) == [10, 96, 0, 1])
      client.close()
    }

    @Test func aServerThatLeavesIsAskedAnew() throws {
      defer { node.stop() }
      node.addPod("shop/a")
      let server = try TestSocket.listening()
      defer { server.close() }
      let client = try stream(to: server.address)
      for round in 0..<3 as Range<UInt16> {
        try client.write(framed(query("example.com", id: round)))
        let connection = try server.accept()
        var message = try readMessage(connection)
        if round == 1 {
          // Cut in the middle: SERVFAIL.
          try connection.write([0, 50, 1, 2])
        } else {
          message[2] |= 0x80
          try connection.write(framed(message))
        }
        connection.close()
        let answer = try readMessage(client)
        #expect(answer.prefix(2) == [0, UInt8(round)])
        #expect(answer[3] & 0xf == (round == 1 ? 2 : 0))
      }
      client.close()
    }

    /// Answers aren't kept for a client that doesn't read them; when it does, all are there, in their order.
    @Test func aClientThatReadsNothing() throws {
      defer { node.stop() }
      node.addPod("shop/a")
      let client = try stream(to: SocketAddress("127.0.0.1:9")!)
      client.stopBlocking()
      let flood = (0..<1000).flatMap { framed(query("web.shop.svc.cluster.local", id: UInt16($0))) }
      var (sent, stalls) = (0, 0)
      let bound = 64 << 20
      while sent < bound, stalls < 20 {
        let piece = Array(flood[(sent % flood.count)...])
        let count = send(client.fd, piece, piece.count, Int32(MSG_NOSIGNAL))
        if count > 0 {
          (sent, stalls) = (sent + count, 0)
        } else {
          stalls += 1
          usleep(20_000)
        }
      }
      #expect(sent < bound, "no more is read than is answered")
      let queries = try node.on { $0.statistics.dnsQueries }
      #expect(queries > 1000 && queries < sent / 20)
      // What was sent in full is answered.
      var answers: [UInt8] = []
      let wanted = sent / (flood.count / 1000)
      var (start, count) = (0, 0)
      while count < wanted {
        var poll = pollfd(fd: client.fd, events: Int16(POLLIN), revents: 0)
        guard Glibc.poll(&poll, 1, 5000) == 1 else { break }
        var buffer = [UInt8](repeating: 0, count: 256 << 10)
        let length = recv(client.fd, &buffer, buffer.count, 0)
        guard length > 0 else { break }
        answers += buffer[..<length]
        while answers.count - start >= 4 {
          let size = 2 + (Int(answers[start]) << 8 | Int(answers[start + 1]))
          guard answers.count - start >= size else { break }
          let id = Int(answers[start + 2]) << 8 | Int(answers[start + 3])
          guard id == count % 1000 else {
            Issue.record("answer \(count) is of query \(id)")
            return
          }
          (start, count) = (start + size, count + 1)
        }
      }
      #expect(count == wanted)
      client.close()
      #expect(try eventually { try node.on { $0.pods["shop/a"]?.dnsStreams } == 0 })
    }

    @Test func connectionsOfAPodAreBounded() throws {
      defer { node.stop() }
      node.addPod("shop/a")
      var clients = [try stream(to: SocketAddress("127.0.0.1:9")!)]
      defer { for client in clients { client.close() } }
      try node.on { $0.pods["shop/a"]?.dnsStreams = DNSStreamServer.bound - 2 }
      clients.append(try stream(to: SocketAddress("127.0.0.1:9")!))
      try clients[1].write(framed(query("web", id: 1)))
      #expect(try readMessage(clients[1]).suffix(4) == [10, 96, 0, 1])
      clients.append(try stream(to: SocketAddress("127.0.0.1:9")!))
      #expect(try eventually { try node.on { $0.pods["shop/a"]?.dnsStreams } == DNSStreamServer.bound })
      clients.append(try stream(to: SocketAddress("127.0.0.1:9")!))
      #expect(clients[3].receiveError() == ECONNRESET)
      clients[2].close()
      clients.remove(at: 2)
      #expect(try eventually { try node.on { $0.pods["shop/a"]?.dnsStreams } == DNSStreamServer.bound - 1 })
    }

    @Test(arguments: [[0, 5, 1, 2, 3, 4, 5], [0, 0], Array("GET / HTTP/1.1\r\n\r\n".utf8)] as [[UInt8]])
    func bytesThatAreNoDNS(bytes: [UInt8]) throws {
      defer { node.stop() }
      node.addPod("shop/a")
      let client = try stream(to: SocketAddress("127.0.0.1:9")!)
      try client.write(bytes)
      client.endWriting()
      var poll = pollfd(fd: client.fd, events: Int16(POLLIN), revents: 0)
      #expect(Glibc.poll(&poll, 1, 5000) == 1)
      client.close()
    }
  }
}
