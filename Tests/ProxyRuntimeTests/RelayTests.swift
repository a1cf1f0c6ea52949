import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// TCP through the proxy, as passed-through connections go: accepted, joined to a socket of the pod's, relayed.
  @Suite struct RelayTests {
    private let node: TestNode
    private let server: TestSocket
    private let proxy: SocketAddress

    init() throws {
      node = try TestNode()
      node.addPod("shop/a")
      server = try TestSocket.listening()
      proxy = try node.relay(to: server.address)
    }

    private func joined() throws -> (client: TestSocket, server: TestSocket) {
      let client = try TestSocket.connected(to: proxy)
      return (client, try server.accept())
    }

    private func finish() {
      server.close()
      node.stop()
    }

    @Test func singleBytes() throws {
      defer { finish() }
      let (client, application) = try joined()
      for byte in 0..<200 as Range<UInt8> {
        try client.write([byte])
        #expect(try application.read(1) == [byte])
        try application.write([~byte])
        #expect(try client.read(1) == [~byte])
      }
      client.close()
      #expect(try application.readToEnd() == [])
      application.close()
      #expect(try eventually { try node.sessionCount == 0 })
    }

    @Test func megabytesBothWaysAtOnce() throws {
      defer { finish() }
      let (client, application) = try joined()
      let up = pattern(24 << 20, 1)
      let down = pattern(24 << 20, 2)
      let writers = [
        inBackground {
          try client.write(up)
          client.endWriting()
        },
        inBackground {
          try application.write(down)
          application.endWriting()
        },
      ]
      let received = inBackground { try application.readToEnd() }
      #expect(try client.readToEnd() == down)
      #expect(try received.get() == up)
      for writer in writers { try writer.get() }
      #expect(try eventually { try node.sessionCount == 0 })
      client.close()
      application.close()
    }

    @Test(arguments: [true, false]) func halfClose(clientFirst: Bool) throws {
      defer { finish() }
      let (client, application) = try joined()
      let (first, second) = clientFirst ? (client, application) : (application, client)
      try first.write([1, 2, 3])
      first.endWriting()
      #expect(try second.readToEnd() == [1, 2, 3])
      // The other half goes on for as long as it likes.
      for round in 0..<20 as Range<UInt8> {
        try second.write([round])
        #expect(try first.read(1) == [round])
      }
      second.endWriting()
      #expect(try first.readToEnd() == [])
      #expect(try eventually { try node.sessionCount == 0 })
      first.close()
      second.close()
    }

    @Test(arguments: [true, false]) func resetsPass(fromClient: Bool) throws {
      defer { finish() }
      let (client, application) = try joined()
      try client.write([1])
      #expect(try application.read(1) == [1])
      let (from, to) = fromClient ? (client, application) : (application, client)
      from.reset()
      #expect(to.receiveError() == ECONNRESET)
      #expect(try eventually { try node.sessionCount == 0 })
      to.close()
    }

    /// A server that answers and closes without reading all: what it said arrives before the reset.
    @Test func bytesBeforeAResetArrive() throws {
      defer { finish() }
      for _ in 0..<20 {
        let (client, application) = try joined()
        try application.write([1, 2, 3])
        application.reset()
        #expect(try client.readSome() == [1, 2, 3])
        #expect(client.receiveError() == ECONNRESET)
        client.close()
      }
    }

    /// The end may come in the very event that tells of the connection.
    @Test func aServerThatAnswersAndLeavesAtOnce() throws {
      defer { finish() }
      let server = server
      let answering = inBackground {
        for _ in 0..<200 {
          let application = try server.accept()
          try application.write([7])
          application.close()
        }
      }
      for _ in 0..<200 {
        let client = try TestSocket.connected(to: proxy)
        #expect(try client.readToEnd() == [7])
        client.close()
      }
      try answering.get()
      #expect(try eventually { try node.sessionCount == 0 })
    }

    @Test func aReaderThatDoesNotReadStopsTheWriter() throws {
      defer { finish() }
      let (client, application) = try joined()
      // Until nothing more is taken: the sockets' buffers and the proxy's one read.
      client.stopBlocking()
      let chunk = pattern(65_536, 5)
      var sent = 0
      var idle = 0
      while idle < 50 {
        let at = sent % chunk.count
        let count = chunk[at...].withUnsafeBytes { send(client.fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        if count > 0 {
          sent += count
          idle = 0
        } else {
          idle += 1
          usleep(2000)
        }
      }
      // Two pairs of kernel buffers, which the kernel may let grow to 6 MB and 4 MB, and 128 KiB.
      #expect(sent < 24 << 20)
      let before = sent
      let received = try application.read(before)
      #expect(received.count == before)
      #expect(received.indices.allSatisfy { received[$0] == chunk[$0 % chunk.count] })
      try client.write(Array(chunk.prefix(10)))
      #expect(try application.read(10) == Array(chunk.prefix(10)))
      client.close()
      application.close()
    }

    @Test func aRefusedConnectIsAReset() throws {
      defer { finish() }
      let dead = try TestSocket.listening()
      let address = dead.address
      dead.close()
      let proxy = try node.relay(to: address)
      for _ in 0..<3 {
        let client = try TestSocket.connected(to: proxy)
        #expect(client.receiveError() == ECONNRESET)
        client.close()
      }
      #expect(node.logged("Connection refused"))
      #expect(try node.on { $0.statistics.failed } == 3)
      #expect(try node.sessionCount == 0)
    }

    /// A listener with a full backlog answers no SYN.
    @Test func aConnectThatIsNotAnsweredTimesOut() throws {
      defer { finish() }
      let full = try TestSocket.listening(backlog: 0)
      defer { full.close() }
      let filling = try (0..<3).map { _ in
        let fd = try TestSocket.pooled()
        _ = Socket.connect(fd, to: full.address)
        return fd
      }
      defer { for fd in filling { close(fd) } }
      let proxy = try node.relay(to: full.address)
      let client = try TestSocket.connected(to: proxy)
      #expect(client.receiveError() == ECONNRESET)
      #expect(node.logged("timed out"))
      client.close()
    }

    @Test func aClientThatLeavesWhileTheUpstreamConnects() throws {
      defer { finish() }
      node.answersRequests.store(false, ordering: .relaxed)
      let poolSize = try node.on { $0.pods["shop/a"]!.pool(.egressV4).count }
      let client = try TestSocket.connected(to: proxy)
      #expect(try eventually { try node.sessionCount == 1 })
      client.reset()
      #expect(try eventually { try node.sessionCount == 0 })
      node.post(.sockets(id: "shop/a", kind: .egressV4, [try TestSocket.pooled()]))
      #expect(try eventually { try node.on { $0.pods["shop/a"]!.pool(.egressV4).count } == poolSize + 1 })
    }

    @Test func aRemovedPodsConnectionsEnd() throws {
      defer { finish() }
      let (client, application) = try joined()
      try client.write([1])
      #expect(try application.read(1) == [1])
      node.post(.removePod(id: "shop/a", runsOn: false))
      #expect(client.receiveError() == ECONNRESET)
      #expect(application.receiveError() == ECONNRESET)
      #expect(throws: SystemError.self) { _ = try TestSocket.connected(to: proxy) }
      client.close()
      application.close()
    }

    @Test func aPodThatLeavesTheMeshKeepsItsConnectionsUntilItIsGone() throws {
      defer { finish() }
      let (client, application) = try joined()
      node.post(.removePod(id: "shop/a", runsOn: true))
      #expect(eventually { (try? TestSocket.connected(to: proxy).close()) == nil })
      try client.write([1])
      #expect(try application.read(1) == [1])
      node.post(.removePod(id: "shop/a", runsOn: false))
      #expect(client.receiveError() == ECONNRESET)
      #expect(application.receiveError() == ECONNRESET)
      client.close()
      application.close()
    }

    @Test func nothingLeaksOverManyConnections() throws {
      defer { finish() }
      func round() throws {
        let (client, application) = try joined()
        try client.write(pattern(1000))
        #expect(try application.read(1000).count == 1000)
        try application.write([1])
        #expect(try client.read(1) == [1])
        client.close()
        #expect(try application.readToEnd() == [])
        application.close()
      }
      for _ in 0..<20 { try round() }
      #expect(try eventually { try node.sessionCount == 0 })
      let before = try settledDescriptors() - pooled()
      for _ in 0..<500 { try round() }
      #expect(try eventually { try node.sessionCount == 0 })
      var after = 0
      #expect(
        try eventually {
          after = try openDescriptors() - pooled()
          return after <= before
        }, "\(before) before, \(after) after")
      // A socket whose connection ended cleanly serves the next: the agent was asked a few times at most.
      #expect(node.socketRequests < 5)
    }

    private func pooled() throws -> Int { try node.on { $0.report().pooledSockets } }
  }
}
