import Foundation
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Who is let in, and what bytes on port 15008 come to.
  @Suite struct TunnelSecurityTests {
    private let hbone = SocketAddress(IPAddress(TunnelPair.serverAddress)!, MeshPort.hbone)

    private func refused(_ pair: TunnelPair, _ node: TestNode, _ reason: String) throws {
      defer { pair.stop() }
      let client = try TestSocket.connected(to: pair.entrance)
      #expect(client.receiveError() == ECONNRESET)
      client.close()
      #expect(node.logged(reason), "\(node.log)")
      // Nothing reached the application.
      pair.application.stopBlocking()
      #expect(accept(pair.application.fd, nil, nil) == -1)
      #expect(try eventually { try pair.isEmpty })
      #expect(try eventually { try pair.tunnels == 0 })
    }

    @Test func aClientWithAnothersIdentity() throws {
      let mesh = try TestAuthority.mesh.get()
      let pair = try TunnelPair(client: mesh.identity("c", as: .of("a")))
      try refused(
        pair, pair.server,
        "identity: \(TunnelPair.clientAddress) is \(SPIFFEID.of("a")), and its client showed \(SPIFFEID.of("c"))")
    }

    @Test func aServerWithAnothersIdentity() throws {
      let mesh = try TestAuthority.mesh.get()
      let pair = try TunnelPair(server: mesh.identity("c", as: .of("b")))
      try refused(
        pair, pair.client, "expected \(SPIFFEID.of("b")) at \(hbone), and its certificate says \(SPIFFEID.of("c"))")
    }

    @Test func aClientOfAnotherAuthority() throws {
      let mesh = try TestAuthority.mesh.get()
      // It trusts ours, but nobody trusts it.
      let pair = try TunnelPair(client: try TestAuthority.stranger.get().identity("a", trusting: mesh.roots))
      try refused(pair, pair.server, "TLS: unable to get local issuer certificate")
    }

    @Test func aServerOfAnotherAuthority() throws {
      let mesh = try TestAuthority.mesh.get()
      let pair = try TunnelPair(server: try TestAuthority.stranger.get().identity("b", trusting: mesh.roots))
      try refused(pair, pair.client, "TLS: unable to get local issuer certificate")
    }

    @Test(arguments: [true, false]) func anExpiredCertificate(ofTheClient: Bool) throws {
      let mesh = try TestAuthority.mesh.get()
      let old = try TestAuthority.old.get()
      let both = mesh.roots + old.roots
      let day: TimeInterval = 86400
      let pair =
        ofTheClient
        ? try TunnelPair(
          client: old.identity("a", age: day, trusting: both), server: mesh.identity("b", trusting: both))
        : try TunnelPair(
          client: mesh.identity("a", trusting: both), server: old.identity("b", age: day, trusting: both))
      try refused(pair, ofTheClient ? pair.server : pair.client, "TLS: certificate has expired")
    }

    /// The same pair with certificates that are not over: an old root alone does no harm.
    @Test func rootsOverlap() throws {
      let mesh = try TestAuthority.mesh.get()
      let old = try TestAuthority.old.get()
      let both = mesh.roots + old.roots
      let pair = try TunnelPair(client: old.identity("a", trusting: both), server: mesh.identity("b", trusting: both))
      defer { pair.stop() }
      let (client, application) = try pair.joined()
      try client.write([1])
      #expect(try application.read(1) == [1])
      client.close()
      application.close()
    }

    /// A real TLS program, from the pod's address.
    private func openssl(_ arguments: [String], folder: String) throws -> String {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
      process.currentDirectoryURL = URL(fileURLWithPath: folder)
      process.arguments =
        ["s_client", "-connect", hbone.description, "-bind", "\(TunnelPair.clientAddress):0", "-CAfile", "ca.pem"]
        + arguments
      let output = Pipe()
      process.standardInput = FileHandle.nullDevice
      process.standardOutput = output
      process.standardError = output
      try process.run()
      let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      return text
    }

    @Test func clientsWithoutCertificateOrOfAnOlderTLS() throws {
      let mesh = try TestAuthority.mesh.get()
      let held = try mesh.held("a")
      let folder = "/tmp/weft-proxy-tests-\(getpid())-openssl"
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      defer { try? FileManager.default.removeItem(atPath: folder) }
      try mesh.authority.rootPEM.write(toFile: "\(folder)/ca.pem", atomically: true, encoding: .utf8)
      try held.certificate.pem.write(toFile: "\(folder)/tls.pem", atomically: true, encoding: .utf8)
      try held.key.pkcs8PEM.write(toFile: "\(folder)/key.pem", atomically: true, encoding: .utf8)
      let pair = try TunnelPair()
      defer { pair.stop() }

      _ = try openssl(["-alpn", "h2"], folder: folder)
      #expect(pair.server.logged("peer did not return a certificate"), "\(pair.server.log)")
      let own = ["-cert", "tls.pem", "-key", "key.pem"]
      let old = try openssl(own + ["-alpn", "h2", "-tls1_2"], folder: folder)
      #expect(old.contains("alert protocol version"))
      #expect(pair.server.logged("unsupported protocol"), "\(pair.server.log)")
      let other = try openssl(own + ["-alpn", "http/1.1"], folder: folder)
      #expect(other.contains("no application protocol"))
      _ = try openssl(own, folder: folder)
      #expect(pair.server.logged("the peer doesn't speak h2"), "\(pair.server.log)")
      #expect(try eventually { try pair.server.on { $0.statistics.handshakesRefused } == 4 })
      // With all of it right it is let in.
      let good = try openssl(own + ["-alpn", "h2"], folder: folder)
      #expect(good.contains("Verify return code: 0 (ok)"))
      #expect(good.contains("TLSv1.3"))
      #expect(try pair.server.on { $0.statistics.handshakesRefused } == 4)
    }

    @Test(arguments: [
      Array("GET / HTTP/1.1\r\nHost: x\r\n\r\n".utf8), Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8),
      Array(repeating: 0xff, count: 5000), Array(repeating: 0, count: 64),
      // A record that claims more than a record may hold, and one of an unknown type.
      [0x16, 3, 1, 0xff, 0xff, 1, 2, 3], [0x99, 3, 3, 0, 1, 0],
    ])
    func bytesThatAreNoTLS(bytes: [UInt8]) throws {
      let pair = try TunnelPair()
      defer { pair.stop() }
      let client = try TestSocket.connected(to: hbone, from: TunnelPair.clientAddress)
      try client.write(bytes)
      var ended = false
      while !ended { ended = ((try? client.readSome()) ?? []).isEmpty }
      client.close()
      #expect(pair.server.logged("a tunnel from \(TunnelPair.clientAddress)"))
      #expect(pair.server.logged("is refused: TLS: "), "\(pair.server.log)")
      #expect(try pair.ask(HBONERequest(authority: pair.application.address.description)) == nil)
    }

    @Test func halfAClientHello() throws {
      let pair = try TunnelPair()
      defer { pair.stop() }
      let hello: [UInt8] = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3] + Array(repeating: 7, count: 60)
      // One that leaves, one that stays silent until its time is over.
      let leaving = try TestSocket.connected(to: hbone, from: TunnelPair.clientAddress)
      try leaving.write(hello)
      leaving.close()
      #expect(pair.server.logged("is refused: closed by peer"), "\(pair.server.log)")
      let staying = try TestSocket.connected(to: hbone, from: TunnelPair.clientAddress)
      try staying.write(hello)
      #expect(try pair.ask(HBONERequest(authority: pair.application.address.description)) == nil)
      var poll = pollfd(fd: staying.fd, events: Int16(POLLIN), revents: 0)
      #expect(Glibc.poll(&poll, 1, 60_000) == 1)
      #expect(pair.server.logged("no handshake within 10 s"))
      staying.close()
    }

    @Test func garbageInsideTLS() throws {
      let mesh = try TestAuthority.mesh.get()
      let pair = try TunnelPair()
      defer { pair.stop() }
      for bytes in [Array("GET / HTTP/1.1\r\n\r\n".utf8), Array(repeating: 0xaa, count: 100)] {
        let client = try RawTLSClient(mesh.identity("a"), to: hbone, from: TunnelPair.clientAddress)
        try client.write(bytes)
        // GOAWAY, PROTOCOL_ERROR.
        let said = client.readToEnd()
        #expect(said.suffix(17) == [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
      }
      #expect(try eventually { try pair.isEmpty })
    }

    /// Asks for answers and never reads them: the server doesn't keep them for it.
    @Test func aPeerThatReadsNothing() throws {
      let mesh = try TestAuthority.mesh.get()
      let pair = try TunnelPair()
      defer { pair.stop() }
      let client = try RawTLSClient(mesh.identity("a"), to: hbone, from: TunnelPair.clientAddress)
      try client.write(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0])
      let connect: [UInt8] = [0x02, 7] + Array("CONNECT".utf8) + [0x01, 3] + Array("a:1".utf8)
      try client.write([0, 0, UInt8(connect.count), 1, 4, 0, 0, 0, 1] + connect)
      // A PING, and one byte of data on a stream that was refused long ago: no budget of empty frames runs out.
      let round: [UInt8] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8] + [0, 0, 1, 0, 0, 0, 0, 0, 1, 0]
      let flood = Array(repeating: round, count: 1000).flatMap { $0 }
      var sent = 0
      while sent < 64 << 20, (try? client.write(flood)) != nil { sent += flood.count }
      #expect(sent < 64 << 20)
      #expect(try eventually { try pair.server.on { $0.report().connectionCount } == 0 })
      #expect(try pair.ask(HBONERequest(authority: pair.application.address.description)) == nil)
    }

    /// As above, by requests that are refused at once: those answers count too. They fill no log either.
    @Test func aPeerThatIsRefusedAndReadsNothing() throws {
      let mesh = try TestAuthority.mesh.get()
      let pair = try TunnelPair()
      defer { pair.stop() }
      let client = try RawTLSClient(mesh.identity("a"), to: hbone, from: TunnelPair.clientAddress)
      try client.write(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0])
      let connect: [UInt8] = [0x02, 7] + Array("CONNECT".utf8) + [0x01, 3] + Array("a:1".utf8)
      var (stream, sent) = (UInt32(1), 0)
      while sent < 64 << 20 {
        let flood = (0..<1000).flatMap { _ in
          defer { stream += 2 }
          return [0, 0, UInt8(connect.count), 1, 5] + (0..<4).map { UInt8(truncatingIfNeeded: stream >> (24 - 8 * $0)) }
            + connect
        }
        guard (try? client.write(flood)) != nil else { break }
        sent += flood.count
      }
      #expect(sent < 64 << 20)
      #expect(pair.server.logged("is refused: CONNECT to \"a:1\", which is not this pod"))
      let lines = pair.server.log.count { $0.contains("which is not this pod") }
      #expect(lines < stream / 20, "\(lines) lines for \(stream / 2) streams")
      #expect(try pair.ask(HBONERequest(authority: pair.application.address.description)) == nil)
    }

    @Test func connectionsWithoutACertificateAreBounded() throws {
      let pair = try TunnelPair()
      defer { pair.stop() }
      // Nothing else is sent for so long: the ones before them don't leave by themselves.
      var clients: [TestSocket] = []
      defer { for client in clients { client.close() } }
      for _ in 0..<InboundTunnels.handshakesBound + 20 {
        clients.append(try TestSocket.connected(to: hbone, from: TunnelPair.clientAddress))
      }
      let bound = InboundTunnels.handshakesBound
      #expect(try eventually { try pair.server.on { $0.pods["shop/b"]?.inboundTunnels.count } == bound })
      #expect(pair.server.logged("more than \(bound) handshakes are under way"))
      // The first ones went, and who has a certificate still comes in.
      var poll = pollfd(fd: clients[0].fd, events: Int16(POLLIN), revents: 0)
      #expect(Glibc.poll(&poll, 1, 1000) == 1)
      #expect(try pair.ask(HBONERequest(authority: pair.application.address.description)) == nil)
    }

    @Test func idleTunnelsAreClosedByTheServerToo() throws {
      let mesh = try TestAuthority.mesh.get()
      let pair = try TunnelPair()
      defer { pair.stop() }
      let (client, application) = try pair.joined()
      let idle = try RawTLSClient(mesh.identity("a"), to: hbone, from: TunnelPair.clientAddress)
      try idle.write(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0])
      func expire(after seconds: UInt64) throws -> Int {
        try pair.server.on { worker in
          let tunnels = worker.pods["shop/b"]!.inboundTunnels
          tunnels.expire(now: worker.loop.now + .seconds(seconds))
          return tunnels.count
        }
      }
      #expect(try eventually { try expire(after: 0) == 2 })
      #expect(try expire(after: 599) == 2)
      // The one with a connection stays.
      #expect(try expire(after: 700) == 1)
      try client.write([1])
      #expect(try application.read(1) == [1])
      client.close()
      application.close()
    }
  }
}
