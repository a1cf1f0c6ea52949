import CLinux
import DiscoveryAPI
import Glibc
import ProxyCore
import SwiftProtobuf
import Synchronization
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Frames and descriptors over a socket pair.
  @Suite struct FrameSocketTests {
    /// What the far end has understood: names, and the inodes of the descriptors that it took.
    private final class Log: Sendable {
      let frames = Mutex<[(bytes: [UInt8], files: [UInt64])]>([])
      let reason = Mutex<String?>(nil)

      var count: Int { frames.withLock { $0.count } }
      var end: String? { reason.withLock { $0 } }
    }

    private let node: TestNode
    private let agent: TestSocket
    private let proxy: Int32
    private let log = Log()

    init() throws {
      node = try TestNode()
      var pair: [Int32] = [0, 0]
      guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0, &pair) == 0 else {
        throw SystemError(errno, "make a socket pair")
      }
      _ = fcntl(pair[0], F_SETFL, 0)
      agent = TestSocket(fd: pair[0])
      proxy = pair[1]
    }

    /// - Parameter takes: how many descriptors each frame asks for.
    private func listen(takes: Int = 253) throws {
      let (log, proxy) = (log, proxy)
      try node.on { worker in
        let socket = try FrameSocket(
          fd: proxy, loop: worker.loop,
          received: { bytes, take in
            let files = take(takes).map { fd in
              defer { close(fd) }
              return Self.inode(fd)
            }
            log.frames.withLock { $0.append((bytes, files)) }
          }, closed: { reason in log.reason.withLock { $0 = reason } })
        worker.keepAlive(socket)
      }
    }

    private static func inode(_ fd: Int32) -> UInt64 {
      var status = stat()
      return fstat(fd, &status) == 0 ? UInt64(status.st_ino) : 0
    }

    private func frame(_ bytes: [UInt8]) -> [UInt8] {
      let length = UInt32(bytes.count)
      return (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * $0)) } + bytes
    }

    private func send(_ bytes: [UInt8], _ descriptors: [Int32] = []) throws {
      let sent = bytes.withUnsafeBytes {
        weft_send_with_fds(agent.fd, $0.baseAddress, $0.count, descriptors, Int32(descriptors.count))
      }
      guard sent > 0 else { throw SystemError(Int32(-sent), "send") }
      try agent.write(Array(bytes[sent...]))
    }

    private func finish() {
      agent.close()
      node.stop()
    }

    @Test func framesInAnyPieces() throws {
      defer { finish() }
      try listen()
      let frames = [[], [1], pattern(300), pattern(200_000, 1), pattern(3 << 20, 2)]
      let bytes = frames.flatMap { frame($0) }
      for byte in bytes.prefix(40) { try agent.write([byte]) }
      try agent.write(Array(bytes.dropFirst(40)))
      #expect(eventually { log.count == frames.count })
      #expect(log.frames.withLock { $0.map(\.bytes) } == frames)
    }

    @Test func descriptorsStayWithTheirFrame() throws {
      defer { finish() }
      let sockets = try (0..<12).map { _ in try TestSocket.tcp() }
      let inodes = sockets.map(Self.inode)
      // All of it waits in the socket before anything is read: reads join what they can.
      try send(frame(pattern(100)))
      try send(frame([1]), Array(sockets[0..<2]))
      try send(frame([2]), Array(sockets[2..<3]))
      try send(frame([3]))
      try send(frame(pattern(50_000)), Array(sockets[3..<12]))
      try send(frame([4]), [sockets[0]])
      for fd in sockets { close(fd) }
      try listen()
      #expect(eventually { log.count == 6 })
      let files = log.frames.withLock { $0.map(\.files) }
      #expect(files == [[], Array(inodes[0..<2]), [inodes[2]], [], Array(inodes[3...]), [inodes[0]]])
    }

    /// Many frames, of sizes that end a read in the middle of a frame with descriptors.
    @Test(arguments: 1...4 as ClosedRange<UInt64>) func descriptorsStayWithTheirFrameByChance(seed: UInt64) throws {
      defer { finish() }
      var state = seed
      func number(_ bound: UInt64) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33 % bound)
      }
      let sockets = try (0..<8).map { _ in try TestSocket.tcp() }
      let inodes = sockets.map(Self.inode)
      defer { for fd in sockets { close(fd) } }
      try listen()
      var expected: [[UInt64]] = []
      for _ in 0..<400 {
        let first = number(8)
        let own = number(3) == 0 ? Array(first..<min(8, first + 3)) : []
        expected.append(own.map { inodes[$0] })
        try send(frame(pattern(number(5) == 0 ? number(150_000) : number(100))), own.map { sockets[$0] })
      }
      #expect(eventually { log.count == expected.count })
      #expect(log.frames.withLock { $0.map(\.files) } == expected)
    }

    @Test func descriptorsThatNobodyTakesAreClosed() throws {
      defer { finish() }
      try listen(takes: 0)
      let fd = try TestSocket.tcp()
      defer { close(fd) }
      try send(frame([0]))
      #expect(eventually { log.count == 1 })
      let before = try settledDescriptors()
      for round in 0..<50 { try send(frame([UInt8(round)]), [fd, fd, fd]) }
      #expect(eventually { log.count == 51 })
      #expect(try eventually { try openDescriptors() <= before })
    }

    @Test func descriptorsOfHalfAFrameAreClosedWithTheSocket() throws {
      defer { finish() }
      try listen()
      let fd = try TestSocket.tcp()
      defer { close(fd) }
      let before = try settledDescriptors()
      try send([0, 0, 0, 9, 1], [fd, fd])
      #expect(try eventually { try openDescriptors() == before + 2 })
      agent.endWriting()
      #expect(eventually { log.end == "the agent closed the connection" })
      // Two of the frame, and the proxy's end of the pair.
      #expect(try eventually { try openDescriptors() == before - 1 })
    }

    @Test func aFrameThatIsTooLong() throws {
      defer { finish() }
      try listen()
      try agent.write([4, 0, 0, 1])
      #expect(eventually { log.end == "a frame of 67108865 bytes; at most 67108864" })
      #expect(try agent.readToEnd() == [])
    }

    @Test func anAgentThatDoesNotRead() throws {
      defer { finish() }
      let (log, proxy) = (log, proxy)
      try node.on { worker in
        let socket = try FrameSocket(
          fd: proxy, loop: worker.loop, received: { _, _ in }, closed: { reason in log.reason.withLock { $0 = reason } }
        )
        worker.keepAlive(socket)
        let message = Weft_Proxy_V1_FromProxy.with { $0.queryReply.json = .init(repeating: 1, count: 1 << 20) }
        for _ in 0..<70 { socket.send(message) }
      }
      #expect(log.end == "the agent doesn't read")
    }

    @Test func whatIsSentArrivesWithItsDescriptors() throws {
      defer { finish() }
      let proxy = proxy
      let fd = try TestSocket.tcp()
      let inode = Self.inode(fd)
      try node.on { worker in
        let socket = try FrameSocket(fd: proxy, loop: worker.loop, received: { _, _ in }, closed: { _ in })
        worker.keepAlive(socket)
        // More than the socket's buffer: the rest leaves as the reader reads.
        for _ in 0..<5 {
          let message = Weft_Proxy_V1_FromProxy.with { $0.queryReply.json = .init(repeating: 7, count: 300_000) }
          socket.send(message, descriptors: [fd, fd])
        }
        close(fd)
      }
      var input: [UInt8] = []
      var files: [Int32] = []
      while input.count < 5 * 300_000 {
        var poll = pollfd(fd: agent.fd, events: Int16(POLLIN), revents: 0)
        try #require(Glibc.poll(&poll, 1, 5000) == 1)
        var buffer = [UInt8](repeating: 0, count: 100_000)
        var incoming = [Int32](repeating: -1, count: 253)
        var count: Int32 = 0
        let length = weft_receive_with_fds(agent.fd, &buffer, buffer.count, &incoming, 253, &count)
        try #require(length > 0)
        input += buffer[..<length]
        files += incoming.prefix(Int(count))
      }
      #expect(files.count == 10)
      #expect(files.allSatisfy { Self.inode($0) == inode })
      for fd in files { close(fd) }
    }
  }
}
