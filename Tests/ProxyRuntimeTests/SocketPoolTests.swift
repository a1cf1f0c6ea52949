import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  @Suite struct SocketPoolTests {
    private final class Requests { var counts: [Int] = [] }

    private func pool() -> (SocketPool, Requests) {
      let requests = Requests()
      return (SocketPool { requests.counts.append($0) }, requests)
    }

    @Test func whoWaitsIsServedFirst() throws {
      let (pool, requests) = pool()
      var taken: [Int32?] = []
      pool.take(now: 0) { taken.append($0) }
      pool.take(now: 0) { taken.append($0) }
      #expect(taken.isEmpty && requests.counts == [32])
      let sockets = try (0..<3).map { _ in try TestSocket.pooled() }
      pool.add(sockets, now: 1)
      #expect(taken == [sockets[0], sockets[1]])
      #expect(pool.count == 1)
      pool.take(now: 1) { taken.append($0) }
      #expect(taken.last == sockets[2])
      pool.closeAll()
      for fd in sockets { close(fd) }
    }

    @Test func waitersTimeOut() {
      let (pool, requests) = pool()
      var taken: [Int32?] = []
      pool.take(now: 0, timeout: .seconds(1)) { taken.append($0) }
      pool.expire(now: .milliseconds(999))
      #expect(taken.isEmpty)
      pool.expire(now: .seconds(1))
      #expect(taken == [nil])
      // Nobody waits: nobody is asked.
      let asked = requests.counts.count
      pool.expire(now: .seconds(9))
      #expect(requests.counts.count == asked)
    }

    @Test func aLostRequestIsMadeAgain() {
      let (pool, requests) = pool()
      pool.take(now: 0) { _ in }
      pool.expire(now: .milliseconds(100))
      #expect(requests.counts.count == 1)
      pool.expire(now: .milliseconds(500))
      #expect(requests.counts.count == 2)
      pool.closeAll()
    }

    @Test func demandMakesRequestsLarger() throws {
      let (pool, requests) = pool()
      for _ in 0..<200 { pool.take(now: 0) { if let fd = $0 { close(fd) } } }
      for round in 1...10 as ClosedRange<UInt64> { pool.add([try TestSocket.pooled()], now: round) }
      #expect(requests.counts.prefix(4) == [32, 64, 128, 128])
      #expect(requests.counts.allSatisfy { $0 <= 128 })
      pool.closeAll()
    }

    @Test func thePoolIsBounded() throws {
      let (pool, _) = pool()
      let before = try settledDescriptors()
      for _ in 0..<SocketPool.bound + 20 { pool.add([try TestSocket.pooled()], now: 0) }
      #expect(pool.count == SocketPool.bound)
      #expect(try openDescriptors() == before + SocketPool.bound)
      pool.closeAll()
      #expect(try openDescriptors() == before)
      pool.add([try TestSocket.pooled()], now: 0)
      pool.giveBack(try TestSocket.pooled())
      #expect(try openDescriptors() == before)
      var answer: Int32? = 0
      pool.take(now: 0) { answer = $0 }
      #expect(answer == nil)
    }

    @Test func waitersAreBounded() {
      let (pool, _) = pool()
      var refused = 0
      for _ in 0..<5000 { pool.take(now: 0) { if $0 == nil { refused += 1 } } }
      #expect(refused == 5000 - 4096)
      pool.closeAll()
      #expect(refused == 5000)
    }

    /// Connected, used, ended by both, given back, connected again: the same descriptor.
    @Test func aSocketServesConnectionAfterConnection() throws {
      let (pool, _) = pool()
      let server = try TestSocket.listening()
      defer { server.close() }
      let fd = try TestSocket.pooled()
      pool.add([fd], now: 0)
      for round in 0..<50 as Range<UInt8> {
        var taken: Int32?
        pool.take(now: 0) { taken = $0 }
        try #require(taken == fd)
        if case .failed(let code) = Socket.connect(fd, to: server.address) { throw SystemError(code, "connect") }
        let application = try server.accept()
        let client = TestSocket(fd: fd)
        #expect(eventually { (try? client.write([round])) != nil })
        #expect(try application.read(1) == [round])
        if round % 2 == 0 {
          client.endWriting()
          #expect(try application.readToEnd() == [])
          application.close()
        } else {
          application.close()
        }
        var poll = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
        Glibc.poll(&poll, 1, 5000)
        #expect(try client.readSome() == [])
        if round % 2 == 1 { client.endWriting() }
        #expect(eventually { weft_unacknowledged(fd) == 0 })
        pool.giveBack(fd)
        #expect(pool.count == 1)
      }
      pool.closeAll()
    }

    @Test func aSocketWhoseConnectFailedIsKept() throws {
      let (pool, _) = pool()
      let dead = try TestSocket.listening()
      let address = dead.address
      dead.close()
      let fd = try TestSocket.pooled()
      for _ in 0..<5 {
        _ = Socket.connect(fd, to: address)
        #expect(eventually { Socket.isUnconnected(fd) })
        pool.giveBack(fd)
        #expect(pool.count == 1)
        pool.take(now: 0) { _ in }
      }
      close(fd)
    }
  }
}
