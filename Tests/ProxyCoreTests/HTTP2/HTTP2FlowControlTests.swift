import NIOCore
import Testing

@testable import ProxyCore

@Suite struct HTTP2FlowControlTests {
  /// A body of many windows arrives whole, and never more lies unread than a window.
  @Test(arguments: [2000, 70_000, 256 << 10]) func aBodyOfManyWindows(step: Int) throws {
    var client = HTTP2Peer(.client)
    var server = HTTP2Peer(.server)
    exchange(&client, &server)
    let id = try client.opened(HTTP2Peer.post, end: false)
    let body = (0..<600_000).map { UInt8(truncatingIfNeeded: $0 &* 7 ^ $0 >> 9) }
    var sent = 0
    var unread = 0
    var rounds = 0
    while sent < body.count || unread > 0 {
      let count = client.send(Array(body[sent...].prefix(300_000)), on: id, end: sent + 300_000 >= body.count)
      sent += count
      unread += count
      #expect(unread <= 256 << 10)
      exchange(&client, &server, consume: false)
      let taken = min(unread, step)
      server.connection.consumed(taken, stream: id, into: &server.out)
      unread -= taken
      exchange(&client, &server, consume: false)
      rounds += 1
      try #require(rounds < 5000)
    }
    #expect(server.data(on: id) == body)
    #expect(server.seen.last == .ended(id))
    #expect(client.seen.contains(.writable(id)))
  }

  @Test func endWaitsForTheWindow() throws {
    var client = HTTP2Peer.greeted(.client)
    let id = try client.opened(end: false)
    client.out.clear()
    let body = [UInt8](repeating: 1, count: 65_536)
    #expect(client.connection.capacity(of: id) == 65_535)
    #expect(client.send(body, on: id, end: true) == 65_535)
    #expect(Wire.frames(client.takeOutput()).allSatisfy { $0.flags == 0 && $0.payload.count <= 16_384 })
    #expect(client.send([1], on: id, end: true) == 0)
    #expect(client.out.readableBytes == 0)
    client.feed(Wire.windowUpdate(id, 10) + Wire.windowUpdate(0, 5))
    #expect(client.seen == [.writable(id), .connectionWritable])
    #expect(client.connection.capacity(of: id) == 5)
    #expect(client.send([1], on: id, end: true) == 1)
    let last = Wire.frames(client.takeOutput())
    #expect(last.map(\.payload) == [[1]] && last.map(\.flags) == [1])
    #expect(client.connection.capacity(of: id) == 0)
  }

  /// The end needs no window.
  @Test func anEmptyEndPassesAClosedWindow() throws {
    var client = HTTP2Peer.greeted(.client)
    let id = try client.opened(end: false)
    #expect(client.send([UInt8](repeating: 1, count: 65_535), on: id) == 65_535)
    client.out.clear()
    client.connection.finish(id, into: &client.out)
    let frames = Wire.frames(client.takeOutput())
    #expect(frames.map(\.payload) == [[]] && frames.map(\.flags) == [1])
  }

  @Test func theInitialWindowChangesOpenStreams() throws {
    var client = HTTP2Peer.greeted(.client)
    let id = try client.opened(end: false)
    #expect(client.send([UInt8](repeating: 1, count: 1000), on: id) == 1000)
    client.feed(Wire.settings([(4, 500)]))
    #expect(client.seen.isEmpty)
    // 500 less than what was sent: the window is negative.
    #expect(client.send([1], on: id) == 0)
    client.feed(Wire.windowUpdate(id, 500))
    #expect(client.seen.isEmpty)
    #expect(client.send([1], on: id) == 0)
    client.feed(Wire.windowUpdate(id, 1))
    #expect(client.seen == [.writable(id)])
    #expect(client.send([1, 2], on: id) == 1)
    // The last of several counts.
    client.feed(Wire.settings([(4, 9000), (4, 0), (4, 600)]))
    #expect(client.seen.last == .connectionWritable)
    #expect(client.connection.capacity(of: id) == 100)
    let next = try client.opened(end: false)
    #expect(client.connection.capacity(of: next) == 600)
  }

  @Test func windowsOver2To31() throws {
    var client = HTTP2Peer.greeted(.client)
    let id = try client.opened(end: false)
    client.feed(Wire.windowUpdate(id, 0x7fff_ffff))
    #expect(client.seen == [.reset(id, .flowControlError)])
    #expect(client.sentResets() == [id: .flowControlError])
    client.feed(Wire.windowUpdate(0, 0x7fff_ffff))
    #expect(client.error?.code == .flowControlError)
    var other = HTTP2Peer.greeted(.client)
    let open = try other.opened(end: false)
    other.feed(Wire.windowUpdate(open, 1000))
    other.feed(Wire.settings([(4, 0x7fff_ffff)]))
    #expect(other.error?.code == .flowControlError)
    var third = HTTP2Peer.greeted(.client)
    third.feed(Wire.settings([(4, 0x8000_0000), (4, 100)]))
    #expect(third.error?.code == .flowControlError)
  }

  @Test func aPeerThatIgnoresTheWindows() {
    var limits = HTTP2Connection.Limits()
    limits.streamWindow = 65_535
    limits.connectionWindow = 65_535
    var server = HTTP2Peer.greeted(.server, limits: limits)
    server.feed(Wire.head(1, HTTP2Peer.post) + Wire.head(3, HTTP2Peer.post))
    server.feed(Wire.data([UInt8](repeating: 0, count: 40_000), stream: 1), consume: false)
    server.feed(Wire.data([UInt8](repeating: 0, count: 40_000), stream: 1), consume: false)
    #expect(server.seen.last == .reset(1, .flowControlError))
    // The rest of that frame is passed over.
    #expect(server.data(on: 1).count == 40_000)
    #expect(server.error == nil && server.sentResets() == [1: .flowControlError])
    server.feed(Wire.data([UInt8](repeating: 0, count: 70_000), stream: 3), consume: false)
    #expect(server.error?.code == .flowControlError)
  }

  /// Padding counts against the windows and is given back without the application.
  @Test func paddingCounts() {
    var limits = HTTP2Connection.Limits()
    limits.streamWindow = 65_535
    var server = HTTP2Peer.greeted(.server, limits: limits)
    server.feed(Wire.head(1, HTTP2Peer.post + ["content-length: 3000"]))
    for _ in 0..<3000 {
      server.feed(Wire.frame(0, flags: 8, stream: 1, [200, 7] + [UInt8](repeating: 0, count: 200)))
    }
    #expect(server.error == nil)
    #expect(server.data(on: 1).count == 3000)
    server.feed(Wire.data([], stream: 1, end: true))
    #expect(server.seen.last == .ended(1))
  }

  @Test func oneSlowStreamHoldsUpNoOther() throws {
    var client = HTTP2Peer(.client)
    var server = HTTP2Peer(.server)
    exchange(&client, &server)
    let slow = try (0..<50).map { _ in try client.opened(HTTP2Peer.post, end: false) }
    let chunk = [UInt8](repeating: 1, count: 256 << 10)
    for id in slow {
      var sent = 0
      while sent < chunk.count {
        sent += client.send(Array(chunk[sent...]), on: id)
        exchange(&client, &server, consume: false)
      }
      #expect(client.send([1], on: id) == 0)
    }
    let fast = try client.opened(HTTP2Peer.post, end: false)
    #expect(client.send(chunk, on: fast) == chunk.count)
  }
}
