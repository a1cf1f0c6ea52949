import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Requests and answers that stand still. The worker looks every few seconds.
  @Suite struct HTTPIdleTests {
    @Test func whatStandsStillEnds() throws {
      let lab = try HTTPLab(policies: [.web { $0.timeouts = Timeouts(idle: 6000) }])
      var all: [(client: HTTPPeer, backend: HTTPPeer)] = []
      for name in ["unanswered", "stuck", "moving", "idle"] {
        let client = try lab.connect()
        try client.get("/\(name)")
        let backend = try lab.accept()
        #expect(try backend.read().target == "/\(name)")
        all.append((client, backend))
      }
      for pair in all[1...2] {
        try pair.backend.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        _ = try pair.client.readHead()
      }
      try all[3].backend.respond(200, "fine")
      #expect(try all[3].client.read().text == "fine")
      var sent = 0
      while all[0].client.isSilent(for: 100), sent < 99 {
        try all[2].backend.write("x")
        sent += 1
      }
      #expect(try all[0].client.read().isRefusal(504, "SI"))
      // Its server is told that nobody waits.
      #expect(all[0].backend.socket.receiveError() != EAGAIN)
      // An answer that has begun can only break off.
      #expect(all[1].client.socket.receiveError() == ECONNRESET)
      #expect(all[1].backend.socket.receiveError() != EAGAIN)
      // A connection without a request just closes.
      #expect(try all[3].client.readToEnd() == [])
      try all[2].backend.write(String(repeating: "x", count: 100 - sent))
      #expect(try all[2].client.take(100).count == 100)
      for pair in all { pair.client.close() }
      for pair in all[0...1] { pair.backend.close() }
      try lab.finish()
    }
  }
}
