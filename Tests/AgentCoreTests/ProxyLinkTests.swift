import CLinux
import DiscoveryAPI
import Glibc
import Testing

@testable import AgentCore

@Suite(.timeLimit(.minutes(1))) struct ProxyLinkTests {
  private let link: ProxyLink
  private let proxy: Int32

  init() throws {
    let (agent, proxy) = try socketPair()
    self.proxy = proxy
    link = ProxyLink(fd: agent, queueBound: 4 << 20)
  }

  private func frame(_ message: Weft_Proxy_V1_FromProxy) throws -> [UInt8] {
    let payload: [UInt8] = try message.serializedBytes()
    let length = UInt32(payload.count)
    return (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * UInt32($0))) } + payload
  }

  private func ready(_ uid: String) -> Weft_Proxy_V1_FromProxy { .with { $0.podReady.uid = uid } }

  private func hello(_ uid: String, more: Bool = false) -> Weft_Proxy_V1_FromProxy {
    .with {
      $0.hello.pid = 7
      $0.hello.more = more
      $0.hello.pods = [
        .with { pod in
          pod.uid = uid
          pod.listeners = [.outbound, .inbound]
        }
      ]
    }
  }

  private func write(_ bytes: [UInt8], _ descriptors: [Int32] = []) {
    #expect(weft_send_with_fds(proxy, bytes, bytes.count, descriptors, Int32(descriptors.count)) == bytes.count)
  }

  /// Two descriptors and what they lead to; the receiver of a frame must get the same files.
  private func pipeEnds() -> ([Int32], [UInt64?]) {
    var ends: [Int32] = [-1, -1]
    pipe(&ends)
    return (ends, ends.map { identity(of: $0) })
  }

  private func reasonOfEnd() async -> String {
    for await (_, descriptors) in link.events { for fd in descriptors { close(fd) } }
    return link.reason
  }

  @Test func framesComeWholeHoweverTheyAreCut() async throws {
    let bytes = try frame(ready("shop/web")) + frame(ready("shop/api"))
    var events = link.events.makeAsyncIterator()
    for byte in bytes { write([byte]) }
    #expect(await events.next()?.message.podReady.uid == "shop/web")
    #expect(await events.next()?.message.podReady.uid == "shop/api")
    close(proxy)
    #expect(await events.next() == nil)
    #expect(link.reason.contains("closed the connection"))
  }

  @Test func descriptorsComeWithTheFrameThatNamesThem() async throws {
    let (first, firstFiles) = pipeEnds()
    let (second, secondFiles) = pipeEnds()
    let bytes = try frame(hello("shop/web", more: true))
    // The descriptors travel with the first byte, the rest comes later.
    write([bytes[0]], first)
    write(Array(bytes[1...]) + (try frame(ready("between"))))
    write(try frame(hello("shop/api")), second)
    for fd in first + second { close(fd) }
    var events = link.events.makeAsyncIterator()
    for (uid, files) in [("shop/web", firstFiles), ("", []), ("shop/api", secondFiles)] {
      let event = try #require(await events.next())
      #expect(event.message.hello.pods.first?.uid ?? "" == uid)
      #expect(event.descriptors.map { identity(of: $0) } == files)
      for fd in event.descriptors {
        #expect(fcntl(fd, F_GETFD) & FD_CLOEXEC != 0)
        close(fd)
      }
    }
    link.close()
    close(proxy)
  }

  @Test func aFrameThatIsTooLongEndsIt() async {
    write([0x04, 0, 0, 1])
    #expect(await reasonOfEnd().contains("at most"))
    close(proxy)
  }

  @Test func aFrameThatIsNoMessageEndsIt() async {
    write([0, 0, 0, 3, 0xff, 0xff, 0xff])
    #expect(await reasonOfEnd() == "a frame that is no message")
    close(proxy)
  }

  @Test func aHelloWithoutItsDescriptorsEndsIt() async throws {
    write(try frame(hello("shop/web")))
    #expect(await reasonOfEnd().contains("names 2 descriptors"))
    close(proxy)
  }

  @Test func descriptorsThatNoFrameNamesAreClosedAndEndIt() async throws {
    let (ends, _) = pipeEnds()
    write(try frame(ready("shop/web")), [ends[1]])
    close(ends[1])
    #expect(await reasonOfEnd().contains("no frame names"))
    var byte: UInt8 = 0
    #expect(read(ends[0], &byte, 1) == 0, "the writing end is closed everywhere")
    close(ends[0])
    close(proxy)
  }

  @Test func whatIsSentArrivesWithItsDescriptorsAndIsClosedHere() throws {
    var ends: [Int32] = [-1, -1]
    pipe(&ends)
    link.send(.with { $0.addPod.uid = "shop/web" }, descriptors: [ends[1]])
    var poller = pollfd(fd: proxy, events: Int16(POLLIN), revents: 0)
    #expect(poll(&poller, 1, 5000) == 1)
    var bytes = [UInt8](repeating: 0, count: 1024)
    var received = [Int32](repeating: -1, count: 253)
    var count: Int32 = 0
    let length = weft_receive_with_fds(proxy, &bytes, bytes.count, &received, 253, &count)
    #expect(count == 1)
    let message = try Weft_Proxy_V1_ToProxy(serializedBytes: Array(bytes[4..<max(4, length)]))
    #expect(message.addPod.uid == "shop/web")
    close(received[0])
    // Both copies of the writing end are gone: the agent's own too.
    var byte: UInt8 = 0
    #expect(read(ends[0], &byte, 1) == 0)
    close(ends[0])
    link.close()
    close(proxy)
  }

  @Test func tooManyDescriptorsAreClosedAndNotSent() async throws {
    let (ends, _) = pipeEnds()
    link.send(.with { $0.sockets.uid = "x" }, descriptors: (0..<254).map { _ in dup(ends[1]) })
    close(ends[1])
    link.close()
    _ = await reasonOfEnd()
    var byte: UInt8 = 0
    #expect(read(ends[0], &byte, 1) == 0)
    close(ends[0])
    close(proxy)
  }

  @Test func aProxyThatDoesntReadIsGivenUpAndNobodyWaits() async throws {
    let (ends, _) = pipeEnds()
    let bulk = [UInt8](repeating: 7, count: 1 << 20)
    for _ in 0..<6 {
      link.send(.with { $0.trustBundle.roots = [.init(bulk)] }, descriptors: [dup(ends[1])])
    }
    close(ends[1])
    #expect(await reasonOfEnd().contains("doesn't read"))
    close(proxy)
    var byte: UInt8 = 0
    #expect(read(ends[0], &byte, 1) == 0, "what was not sent is closed")
    close(ends[0])
  }

  @Test func aSlowProxyGetsEverything() async throws {
    let bulk = [UInt8](repeating: 7, count: 1 << 20)
    for _ in 0..<3 { link.send(.with { $0.trustBundle.roots = [.init(bulk)] }) }
    let proxy = self.proxy
    let total = try await onThread {
      var total = 0
      var buffer = [UInt8](repeating: 0, count: 64 << 10)
      while total < 3 << 20 {
        var poller = pollfd(fd: proxy, events: Int16(POLLIN), revents: 0)
        guard poll(&poller, 1, 5000) == 1 else { break }
        total += max(0, read(proxy, &buffer, buffer.count))
      }
      return total
    }
    #expect(total >= 3 << 20)
    link.close()
    close(proxy)
  }

  @Test func credentialsOfThePeer() {
    var uid: uid_t = 99
    #expect(weft_peer_uid(proxy, &uid) == 0)
    #expect(uid == geteuid())
    link.close()
    close(proxy)
  }
}
