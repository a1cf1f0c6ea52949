import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Times of tries and requests, and second tries beside the first.
  @Suite struct HTTPTimeoutTests {
    // MARK: Time

    @Test(arguments: [true, false]) func aTryThatTakesTooLong(isRetried: Bool) throws {
      let lab = try HTTPLab(policies: [
        .web {
          $0.timeouts = Timeouts(perTry: 1000)
          if isRetried { $0.retry = .soon }
        }
      ])
      let client = try lab.connect()
      let began = EventLoop.clock()
      try client.get()
      let first = try lab.accept()
      _ = try first.read()
      if isRetried {
        let second = try lab.accept()
        #expect(try second.read().target == "/")
        try second.respond(200, "quick")
        #expect(try client.read().text == "quick")
      } else {
        let answer = try client.read()
        #expect(answer.status == 504 && answer["weft-reason"]?.hasPrefix("UT: ") == true)
      }
      #expect(EventLoop.clock() - began >= .milliseconds(995))
      client.close()
      first.close()
      try lab.finish()
    }

    @Test func aRequestThatTakesTooLong() throws {
      let lab = try HTTPLab(policies: [
        .web {
          $0.timeouts = Timeouts(request: 120, perTry: 50)
          $0.retry = .soon
        }
      ])
      let client = try lab.connect()
      let began = EventLoop.clock()
      try client.get()
      let answer = try client.read()
      #expect(answer.status == 504 && answer["weft-reason"]?.hasPrefix("UT: ") == true)
      #expect(EventLoop.clock() - began < .seconds(9))
      client.close()
      try lab.finish()
    }

    /// A head that came in time doesn't help a body that doesn't.
    @Test func anAnswerThatTakesTooLongBreaksOff() throws {
      let lab = try HTTPLab(policies: [.web { $0.timeouts = Timeouts(request: 2000) }])
      let client = try lab.connect()
      try client.get()
      let backend = try lab.accept()
      _ = try backend.read()
      try backend.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
      _ = try client.readHead()
      #expect(try client.take(3) == Array("abc".utf8))
      #expect(client.socket.receiveError() == ECONNRESET)
      client.close()
      backend.close()
      try lab.finish()
    }

    // MARK: Hedging

    @Test func theSecondTryMayWin() throws {
      let lab = try HTTPLab(
        backends: 2,
        policies: [
          .web {
            $0.hedging = Hedging(percentile: 50, minimumDelay: 300)
            $0.loadBalancer = LoadBalancer(algorithm: .roundRobin)
          }
        ])
      // So many that it knows what is usual.
      let client = try lab.connect()
      var peers: [Int: HTTPPeer] = [:]
      func answering() throws -> Int {
        var polls = lab.backends.map { pollfd(fd: $0.fd, events: Int16(POLLIN), revents: 0) }
        for index in 0..<2 {
          polls.append(pollfd(fd: peers[index]?.socket.fd ?? -1, events: Int16(POLLIN), revents: 0))
        }
        while true {
          guard Glibc.poll(&polls, 4, 10_000) > 0, let ready = polls.firstIndex(where: { $0.revents != 0 }) else {
            throw SystemError(ETIMEDOUT, "wait for a request")
          }
          if ready >= 2 { return ready - 2 }
          peers[ready] = try lab.accept(ready)
          polls[ready].events = 0
          polls[ready].revents = 0
          polls[ready + 2].fd = peers[ready]!.socket.fd
        }
      }
      for _ in 0..<100 {
        try client.get("/usual")
        let index = try answering()
        _ = try peers[index]!.read()
        try peers[index]!.respond(200, "quick")
        _ = try client.read()
      }
      #expect(peers.count == 2)
      try client.get("/slow")
      let slow = try answering()
      #expect(try peers[slow]!.read().target == "/slow")
      let other = try answering()
      #expect(other == 1 - slow)
      #expect(try peers[other]!.read().target == "/slow")
      try peers[other]!.respond(200, "second")
      #expect(try client.read().text == "second")
      // Nobody waits for the first any more.
      #expect(peers[slow]!.socket.receiveError() != EAGAIN)
      peers[slow]!.close()
      peers[slow] = nil
      for round in 0..<4 {
        try client.get("/\(round)")
        let index = try answering()
        #expect(try peers[index]!.read().target == "/\(round)")
        try peers[index]!.respond(200, "\(round)")
        #expect(try client.read().text == "\(round)")
      }
      client.close()
      try lab.finish()
    }
  }
}
