import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Connections that haven't said yet what they speak.
  @Suite struct HTTPSniffTests {
    private func probes(_ lab: HTTPLab) throws -> Int { try lab.node.on { $0.probes.count } }

    @Test(arguments: ["http", "http2", "tls"]) func aPodThatGoesTakesThemWithIt(speaking: String) throws {
      // Without a TLSRoute a port of TLS isn't looked into.
      let routes =
        speaking == "tls"
        ? [
          Route(
            kind: .tls, namespace: "shop", name: "t", parents: [.init(service: HTTPLab.web)],
            rules: [RouteRule(backends: [RouteBackend(service: HTTPLab.web, port: 80)])])
        ] : []
      let lab = try HTTPLab(speaking: speaking, routes: routes)
      let clients = try (0..<3).map { _ in try lab.connect() }
      // A beginning that doesn't say it yet.
      try clients[2].socket.write(speaking == "tls" ? [22] : Array("P".utf8))
      #expect(try eventually { try probes(lab) == 3 })
      lab.node.post(.removePod(id: "shop/a", runsOn: false))
      for client in clients {
        #expect(client.socket.receiveError() == ECONNRESET)
        client.close()
      }
      #expect(try probes(lab) == 0)
      try lab.finish()
    }

    @Test func aDrainEndsSilentOnes() throws {
      let lab = try HTTPLab()
      let clients = try (0..<3).map { _ in try lab.connect() }
      #expect(try eventually { try probes(lab) == 3 })
      lab.node.post(.drain())
      for client in clients {
        #expect(try client.readToEnd() == [])
        client.close()
      }
      #expect(eventually { lab.node.isDrained })
      try lab.finish()
    }

    /// As health checks do: connected and closed, or left in the middle of a word.
    @Test(arguments: ["http", "http2", "grpc", ""], ["", "GE", "PRI * HT"])
    func clientsThatEndBeforeTheySayIt(speaking: String, first: String) throws {
      let lab = try HTTPLab(speaking: speaking)
      // What is neither goes on as bytes: its server sees the end.
      let isCarried = speaking.isEmpty
      for _ in 0..<3 {
        let client = try lab.connect()
        if !first.isEmpty { try client.write(first) }
        client.socket.endWriting()
        if isCarried {
          let backend = try lab.accept()
          #expect(try backend.readToEnd() == Array(first.utf8))
          backend.close()
        }
        // No answer, and no wait for the idle timeout.
        var byte: UInt8 = 0
        #expect(recv(client.socket.fd, &byte, 1, 0) <= 0 && errno != EAGAIN)
        client.close()
      }
      #expect(try eventually { try probes(lab) == 0 && lab.node.sessionCount == 0 })
      try lab.finish()
    }
  }
}
