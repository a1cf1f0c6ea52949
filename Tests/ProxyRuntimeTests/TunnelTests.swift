import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Streams between two nodes over mTLS.
  @Suite struct TunnelTests {
    private let pair: TunnelPair

    init() throws { pair = try TunnelPair() }

    @Test func dataAndWhoSentIt() throws {
      defer { pair.stop() }
      let (client, application) = try pair.joined()
      for byte in 0..<50 as Range<UInt8> {
        try client.write([byte])
        #expect(try application.read(1) == [byte])
        try application.write([~byte])
        #expect(try client.read(1) == [~byte])
      }
      let here = try #require(try pair.client.on { $0.report().connections.first })
      #expect(here.facts.isTLS && here.facts.isTunnelled)
      #expect(here.facts.destinationIdentity == SPIFFEID.of("b").description)
      #expect(here.bytesSent == 50 && here.bytesReceived == 50)
      let there = try #require(try pair.server.on { $0.report().connections.first })
      #expect(there.facts.sourceIdentity == SPIFFEID.of("a").description)
      #expect(there.facts.source == "shop/a" && there.facts.destination == "shop/b")
      // The client's own port, told by the tunnel and not the tunnel's.
      #expect(there.facts.downstreamAddress == SocketAddress(IPAddress(TunnelPair.clientAddress)!, client.address.port))
      #expect(there.bytesSent == 50 && there.bytesReceived == 50)
      client.close()
      application.close()
      #expect(try eventually { try pair.isEmpty })
    }

    @Test func megabytesBothWaysAtOnce() throws {
      defer { pair.stop() }
      let (client, application) = try pair.joined()
      let up = pattern(16 << 20, 3)
      let down = pattern(16 << 20, 4)
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
      #expect(try eventually { try pair.isEmpty })
      client.close()
      application.close()
    }

    @Test(arguments: [true, false]) func halfClose(clientFirst: Bool) throws {
      defer { pair.stop() }
      let (client, application) = try pair.joined()
      let (first, second) = clientFirst ? (client, application) : (application, client)
      try first.write([1, 2, 3])
      first.endWriting()
      #expect(try second.readToEnd() == [1, 2, 3])
      for round in 0..<20 as Range<UInt8> {
        try second.write([round])
        #expect(try first.read(1) == [round])
      }
      second.endWriting()
      #expect(try first.readToEnd() == [])
      #expect(try eventually { try pair.isEmpty })
      first.close()
      second.close()
    }

    @Test(arguments: [true, false]) func resetsPassAndOthersGoOn(fromClient: Bool) throws {
      defer { pair.stop() }
      let other = try pair.joined()
      let (client, application) = try pair.joined()
      try client.write([1])
      #expect(try application.read(1) == [1])
      let (from, to) = fromClient ? (client, application) : (application, client)
      from.reset()
      #expect(to.receiveError() == ECONNRESET)
      to.close()
      try other.client.write([2])
      #expect(try other.server.read(1) == [2])
      #expect(try pair.tunnels == 1)
      other.client.close()
      other.server.close()
      #expect(try eventually { try pair.isEmpty })
    }

    @Test func twoHundredStreamsInOneTunnel() throws {
      defer { pair.stop() }
      let payloads = (0..<200).map { pattern(20_000, UInt8($0)) }
      let entrance = pair.entrance
      let application = pair.application
      let echoes = inBackground {
        // Each answers what it was sent, in the reverse order of their arrival.
        var connections: [(TestSocket, [UInt8])] = []
        for _ in 0..<200 {
          let connection = try application.accept()
          connections.append((connection, try connection.read(20_000)))
        }
        for (connection, bytes) in connections.reversed() {
          try connection.write(bytes)
          connection.close()
        }
      }
      let clients = try payloads.map { payload in
        let client = try TestSocket.connected(to: entrance)
        try client.write(payload)
        return client
      }
      for (client, payload) in zip(clients, payloads) {
        #expect(try client.readToEnd() == payload)
        client.close()
      }
      try echoes.get()
      #expect(try pair.tunnels == 1)
      #expect(try eventually { try pair.isEmpty })
    }

    @Test func aReaderThatDoesNotReadHoldsUpNobodyElse() throws {
      defer { pair.stop() }
      let (slow, sleeper) = try pair.joined()
      slow.stopBlocking()
      let chunk = pattern(65_536, 6)
      var sent = 0
      var idle = 0
      while idle < 50 {
        let at = sent % chunk.count
        let count = chunk[at...].withUnsafeBytes { send(slow.fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        if count > 0 {
          sent += count
          idle = 0
        } else {
          idle += 1
          usleep(2000)
        }
      }
      // Two connections' kernel buffers, one stream window of 512 KiB, and what each proxy holds.
      #expect(sent < 26 << 20)
      let (client, application) = try pair.joined()
      let bytes = pattern(4 << 20, 7)
      let writing = inBackground { try client.write(bytes) }
      #expect(try application.read(bytes.count) == bytes)
      try writing.get()
      // And the slow one loses nothing.
      let received = try sleeper.read(sent)
      #expect(received.count == sent)
      #expect(received.indices.allSatisfy { received[$0] == chunk[$0 % chunk.count] })
      for socket in [slow, sleeper, client, application] { socket.close() }
    }

    @Test func anApplicationThatRefuses() throws {
      defer { pair.stop() }
      let dead = try TestSocket.listening(TunnelPair.serverAddress)
      let target = dead.address
      dead.close()
      let entrance = try TunnelPair.entrance(of: pair.client, to: target)
      let client = try TestSocket.connected(to: entrance)
      #expect(client.receiveError() == ECONNRESET)
      #expect(pair.client.logged("the peer answered 503"))
      #expect(pair.server.logged("Connection refused"))
      client.close()
      #expect(try eventually { try pair.isEmpty })
    }

    @Test func whatMayBeAskedFor() throws {
      defer { pair.stop() }
      let good = pair.application.address.description
      #expect(try pair.ask(HBONERequest(authority: good)) == nil)
      for authority in ["127.0.0.1:80", "127.77.0.3:80", "\(TunnelPair.serverAddress):15006", "b.shop:80", "", "x"] {
        #expect(try pair.ask(HBONERequest(authority: authority)) == "the peer answered 403", "\(authority)")
      }
      #expect(try pair.ask(HBONERequest(method: "GET", authority: good)) == "the peer answered 405")
      #expect(pair.server.logged("CONNECT to \"127.0.0.1:80\", which is not this pod"))
      #expect(try pair.ask(HBONERequest(authority: good)) == nil)
      #expect(try pair.tunnels == 1)
    }

    @Test func aClaimedAddressOfAnotherIsNotBelieved() throws {
      defer { pair.stop() }
      let request = HBONERequest(authority: pair.application.address.description, client: "127.77.0.3:1234")
      #expect(try pair.ask(request, keepsStream: true) == nil)
      let application = try pair.application.accept()
      let seen = try pair.server.on { $0.report().connections.first?.facts.downstreamAddress }
      #expect(seen?.ip == IPAddress(TunnelPair.clientAddress)!)
      #expect(seen?.port != 1234)
      application.close()
    }

    @Test func newCertificatesDropNothing() throws {
      defer { pair.stop() }
      let mesh = try TestAuthority.mesh.get()
      let (client, application) = try pair.joined()
      try client.write([1])
      #expect(try application.read(1) == [1])
      pair.server.post(.identity(try mesh.identity("b")))
      pair.client.post(.identity(try mesh.identity("a")))
      try client.write([2])
      #expect(try application.read(1) == [2])
      let second = try pair.joined()
      try second.client.write([3])
      #expect(try second.server.read(1) == [3])
      for socket in [client, application, second.client, second.server] { socket.close() }
    }

    @Test func aDrainingServerFinishesWhatIsOpen() throws {
      defer { pair.stop() }
      let (client, application) = try pair.joined()
      try client.write([1])
      #expect(try application.read(1) == [1])
      pair.server.post(.drain())
      #expect(try pair.server.on { $0.isDraining })
      #expect(!pair.server.isDrained)
      // The client is told, and opens no more streams there; nobody listens for a new tunnel.
      let late = try TestSocket.connected(to: pair.entrance)
      #expect(late.receiveError() == ECONNRESET)
      late.close()
      let bytes = pattern(1 << 20, 8)
      let writing = inBackground {
        try client.write(bytes)
        client.endWriting()
      }
      #expect(try application.readToEnd() == bytes)
      try writing.get()
      try application.write([2])
      application.close()
      #expect(try client.readToEnd() == [2])
      client.close()
      #expect(eventually { pair.server.isDrained })
      #expect(try eventually { try pair.tunnels == 0 })
    }

    /// Connections come without a pause while another proxy takes the server's place, asked to leave or at once.
    @Test(arguments: [true, false]) func aServerThatIsReplacedLosesNoConnection(hasSuccessor: Bool) throws {
      defer { pair.stop() }
      let successor = try pair.successor()
      defer {
        successor.post(.removePod(id: "shop/b", runsOn: false))
        _ = try? successor.on { _ in }
        successor.stop()
      }
      let application = pair.application
      let count = 400
      let echoing = inBackground {
        for _ in 0..<count {
          let connection = try application.accept()
          try connection.write(try connection.read(1))
          connection.close()
        }
      }
      let entrance = pair.entrance
      let asking = inBackground {
        for index in 0..<count {
          let client = try TestSocket.connected(to: entrance)
          defer { client.close() }
          try client.write([UInt8(index & 255)])
          #expect(try client.read(1) == [UInt8(index & 255)], "connection \(index)")
        }
      }
      #expect(try eventually { try pair.server.on { $0.statistics.established } > 20 })
      pair.server.post(.drain(hasSuccessor: hasSuccessor))
      try asking.get()
      try echoing.get()
      #expect(eventually { pair.server.isDrained })
      #expect(try successor.on { $0.statistics.established } > 20)
    }

    @Test func aDrainingClientFinishesWhatIsOpen() throws {
      defer { pair.stop() }
      let (client, application) = try pair.joined()
      try client.write([1])
      #expect(try application.read(1) == [1])
      pair.client.post(.drain())
      #expect(try pair.client.on { $0.isDraining })
      try client.write([2])
      #expect(try application.read(1) == [2])
      client.close()
      application.close()
      #expect(eventually { pair.client.isDrained })
    }

    @Test func aRemovedPodTakesItsTunnelsAlong() throws {
      defer { pair.stop() }
      let (client, application) = try pair.joined()
      try client.write([1])
      #expect(try application.read(1) == [1])
      pair.server.post(.removePod(id: "shop/b", runsOn: false))
      #expect(client.receiveError() == ECONNRESET)
      #expect(application.receiveError() == ECONNRESET)
      #expect(try eventually { try pair.tunnels == 0 })
      #expect(try eventually { try pair.isEmpty })
      client.close()
      application.close()
    }

    @Test func nothingLeaksOverManyStreams() throws {
      defer { pair.stop() }
      func round() throws {
        let (client, application) = try pair.joined()
        try client.write(pattern(100))
        #expect(try application.read(100).count == 100)
        client.close()
        #expect(try application.readToEnd() == [])
        application.close()
      }
      func pooled() throws -> Int {
        try pair.client.on { $0.report().pooledSockets } + pair.server.on { $0.report().pooledSockets }
      }
      for _ in 0..<10 { try round() }
      #expect(try eventually { try pair.isEmpty })
      let before = try settledDescriptors() - pooled()
      for _ in 0..<300 { try round() }
      #expect(try eventually { try pair.isEmpty })
      #expect(try eventually { try openDescriptors() - pooled() <= before })
      #expect(try pair.tunnels == 1)
    }
  }
}
