import CLinux
import DiscoveryAPI
import Glibc
import MeshModel
import SwiftProtobuf
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// The proxy as its agent sees it, over a Unix socket. It hears root's processes only.
  @Suite(.enabled(if: geteuid() == 0, "the proxy takes commands from root alone")) struct ControlThreadTests {
    private let proxy: TestProxy

    init() throws { proxy = try TestProxy() }

    private struct PodListeners {
      let descriptors: [Int32]
      let outbound: SocketAddress

      init() throws {
        let tcp = try (0..<3).map { _ in try TestSocket.listening(isBlocking: false) }
        let udp = (0..<2).map { _ in socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0) }
        descriptors = tcp.map(\.fd) + udp
        outbound = tcp[0].address
      }

      func close() { for fd in descriptors { Glibc.close(fd) } }
    }

    private static let kinds: [Weft_Proxy_V1_Listener] = [.outbound, .inbound, .hbone, .dns, .dnsUpstream]

    private func inode(_ fd: Int32) -> UInt64 {
      var status = stat()
      return fstat(fd, &status) == 0 ? UInt64(status.st_ino) : 0
    }

    private func add(_ uid: String, to agent: TestAgent) throws -> (address: SocketAddress, inodes: [UInt64]) {
      let listeners = try PodListeners()
      defer { listeners.close() }
      try agent.send(listeners.descriptors) { $0.addPod = .with { ($0.uid, $0.listeners) = (uid, Self.kinds) } }
      let ready = try agent.receive { message in
        if case .podReady(let ready) = message.body { ready.uid } else { nil }
      }
      #expect(ready == uid)
      return (listeners.outbound, listeners.descriptors.map(inode))
    }

    /// Whether a connection is accepted; one that capture did not lead here is reset then.
    private func isServed(_ address: SocketAddress) -> Bool {
      guard let client = try? TestSocket.connected(to: address) else { return false }
      defer { client.close() }
      return client.receiveError() == ECONNRESET
    }

    @Test func podsComeAndGo() throws {
      defer { proxy.stop() }
      let agent = try TestAgent(proxy.path)
      let hello = try agent.hello()
      #expect(hello.pid == UInt32(getpid()) && hello.pods.isEmpty && !hello.more)
      let (address, _) = try add("shop/a", to: agent)
      for _ in 0..<20 { #expect(isServed(address)) }
      // Again with other sockets: the first are let go.
      let (second, _) = try add("shop/a", to: agent)
      #expect(isServed(second))
      #expect(eventually { !isServed(address) })
      try agent.send { $0.removePod.uid = "shop/a" }
      #expect(eventually { !isServed(second) })
      #expect(try agent.query("dump").contains("\"pods\":[]"))
    }

    @Test func aNewAgentTakesOver() throws {
      defer { proxy.stop() }
      let first = try TestAgent(proxy.path)
      _ = try first.hello()
      let (address, inodesA) = try add("shop/a", to: first)
      let (_, inodesB) = try add("shop/b", to: first)
      let second = try TestAgent(proxy.path)
      let hello = try second.hello()
      #expect(hello.pods.map(\.uid) == ["shop/a", "shop/b"])
      #expect(hello.pods.allSatisfy { $0.listeners == Self.kinds })
      #expect(second.descriptors.map(inode) == inodesA + inodesB)
      // The one before is told by the end of its connection; pods are served meanwhile.
      #expect(throws: SystemError.self) { while true { _ = try first.receive() } }
      #expect(isServed(address))
      // Those that go away change nothing.
      second.socket.endWriting()
      let third = try TestAgent(proxy.path)
      #expect(try third.hello().pods.count == 2)
      #expect(isServed(address))
    }

    @Test func moreThanFitsIntoOneGreeting() throws {
      defer { proxy.stop() }
      let agent = try TestAgent(proxy.path)
      _ = try agent.hello()
      var inodes: [String: [UInt64]] = [:]
      for index in 0..<60 {
        let uid = "shop/p\(index)"
        inodes[uid] = try add(uid, to: agent).inodes
      }
      let second = try TestAgent(proxy.path)
      var pods: [Weft_Proxy_V1_Inventory] = []
      var greetings = 0
      var isMore = true
      while isMore {
        let hello = try second.hello()
        pods += hello.pods
        greetings += 1
        isMore = hello.more
      }
      #expect(greetings == 2 && pods.count == 60)
      #expect(second.descriptors.map(inode) == pods.flatMap { inodes[$0.uid]! })
    }
    @Test func questionsAreAnsweredInJSON() throws {
      defer { proxy.stop() }
      let agent = try TestAgent(proxy.path)
      _ = try agent.hello()
      #expect(try agent.query("connections", id: 7) == #"{"connections":[],"total":0}"#)
      #expect(try agent.query("statistics", id: 8).contains("\"workers\":2"))
      #expect(try agent.query("dump", id: 9).contains("\"connections\":{"))
      #expect(try agent.query("whatever", id: 10).contains("\"pods\":[]"))
      #expect(try agent.query("routes", id: 11) == #"{"routes":[],"total":0}"#)
      #expect(try agent.query("policies", id: 12) == #"{"policies":[],"total":0}"#)
      #expect(try agent.query("endpoints", id: 13) == #"{"endpoints":[],"truncated":false}"#)
    }

    @Test func socketsAreAskedForAndAgain() throws {
      defer { proxy.stop() }
      let agent = try TestAgent(proxy.path)
      _ = try agent.hello()
      // Plaintext to a pod's address: to be delivered, hence a socket is wanted.
      let inbound = try TestSocket.listening("127.77.2.1", isBlocking: false)
      try agent.send {
        $0.mesh.version = 1
        $0.mesh.workloads = [meshWorkload("a", address: [127, 77, 2, 1])]
      }
      try agent.send([inbound.fd]) { $0.addPod = .with { ($0.uid, $0.listeners) = ("shop/a", [.inbound]) } }
      let address = inbound.address
      let client = try TestSocket.connected(to: address)
      for _ in 0..<2 {
        let need = try agent.receive { if case .needSockets(let need) = $0.body { need } else { nil } }
        #expect(need.uid == "shop/a" && need.kind == .deliveryV4 && need.count == 32)
      }
      // Nothing listens there any more; with a socket the connection is tried, and refused.
      inbound.close()
      try agent.send { $0.removePod.uid = "shop/a" }
      #expect(client.receiveError() == ECONNRESET)
      client.close()
      // For a pod that is gone, of a kind that is none: closed.
      let before = try settledDescriptors()
      let spare = try TestSocket.pooled()
      try agent.send([spare, spare]) { $0.sockets.uid = "shop/a" }
      try agent.send([spare]) { $0.sockets = .with { ($0.uid, $0.kind) = ("shop/a", .UNRECOGNIZED(99)) } }
      close(spare)
      _ = try agent.query("statistics")
      #expect(try eventually { try openDescriptors() <= before })
    }

    @Test func podsThatComeTogetherAreServedTogether() throws {
      defer { proxy.stop() }
      let agent = try TestAgent(proxy.path)
      _ = try agent.hello()
      let (a, b) = (try PodListeners(), try PodListeners())
      defer {
        a.close()
        b.close()
      }
      func send(_ uid: String, _ listeners: PodListeners, more: Bool) throws {
        try agent.send(listeners.descriptors) {
          $0.addPod = .with { ($0.uid, $0.listeners, $0.more) = (uid, Self.kinds, more) }
        }
      }
      func ready() throws -> String {
        try agent.receive { if case .podReady(let ready) = $0.body { ready.uid } else { nil } }
      }
      try send("shop/a", a, more: true)
      // Answered after everything before it.
      #expect(try agent.query("dump").contains("\"pods\":[]"), "nothing is served before the last has come")
      try send("shop/b", b, more: false)
      #expect(try Set([ready(), ready()]) == ["shop/a", "shop/b"])
      #expect(isServed(a.outbound) && isServed(b.outbound))
    }

    @Test func podsAreServedAlsoWhereTheAgentGoesBeforeTheLast() throws {
      defer { proxy.stop() }
      let listeners = try PodListeners()
      defer { listeners.close() }
      do {
        let agent = try TestAgent(proxy.path)
        _ = try agent.hello()
        try agent.send(listeners.descriptors) {
          $0.addPod = .with { ($0.uid, $0.listeners, $0.more) = ("shop/a", Self.kinds, true) }
        }
      }
      #expect(isServed(listeners.outbound))
    }

    @Test func listenersAndDescriptorsHaveToMatch() throws {
      defer { proxy.stop() }
      let agent = try TestAgent(proxy.path)
      _ = try agent.hello()
      let before = try settledDescriptors()
      let listener = try TestSocket.listening(isBlocking: false)
      try agent.send([listener.fd]) { $0.addPod = .with { ($0.uid, $0.listeners) = ("shop/a", Self.kinds) } }
      try agent.send([listener.fd]) { $0.addPod = .with { ($0.uid, $0.listeners) = ("shop/b", [.UNRECOGNIZED(9)]) } }
      try agent.send { $0.addPod = .with { ($0.uid, $0.listeners) = ("shop/c", [.hbone]) } }
      listener.close()
      for uid in ["shop/a", "shop/b", "shop/c"] {
        let refused = try agent.receive { if case .podRefused(let refused) = $0.body { refused } else { nil } }
        #expect(refused.uid == uid && refused.reason.contains("descriptors"))
      }
      #expect(try agent.query("dump").contains("\"pods\":[]"))
      #expect(try eventually { try openDescriptors() <= before })
    }

    /// Nothing is led to a pod that nobody serves, and nothing stays open.
    @Test func workersThatTakeNoCommands() throws {
      proxy.stop()
      let stuck = try TestProxy(areStuck: true)
      defer { stuck.stop() }
      let agent = try TestAgent(stuck.path)
      _ = try agent.hello()
      let before = try settledDescriptors()
      let listeners = try PodListeners()
      try agent.send(listeners.descriptors) { $0.addPod = .with { ($0.uid, $0.listeners) = ("shop/a", Self.kinds) } }
      listeners.close()
      let sockets = try (0..<16).map { _ in try TestSocket.pooled() }
      try agent.send(sockets) { $0.sockets.uid = "shop/a" }
      for fd in sockets { close(fd) }
      try agent.send { $0.mesh.version = 1 }
      var isReady = false
      _ = try agent.receive { message in
        if case .podReady = message.body { isReady = true }
        if case .meshAck(let ack) = message.body { return ack.version }
        return nil
      }
      #expect(!isReady)
      // The listeners are kept for an agent, and no copy of them.
      #expect(try openDescriptors() == before + 5)
      try agent.send { $0.removePod.uid = "shop/a" }
      #expect(try eventually { try openDescriptors() <= before })
    }

    @Test func bytesThatAreNoMessageEndTheConnectionOnly() throws {
      defer { proxy.stop() }
      let agent = try TestAgent(proxy.path)
      _ = try agent.hello()
      let (address, _) = try add("shop/a", to: agent)
      try agent.send([0xff, 0xff, 0xff, 0xff])
      #expect(throws: SystemError.self) { while true { _ = try agent.receive() } }
      // An empty message, and one of a later version, are passed over.
      let next = try TestAgent(proxy.path)
      #expect(try next.hello().pods.map(\.uid) == ["shop/a"])
      try next.send([])
      try next.send([0xfa, 0x7f, 0])
      #expect(try next.query("connections").contains("\"total\":0"))
      #expect(isServed(address))
    }

    @Test func drainingEndsTheProgram() throws {
      defer { unlink(proxy.path) }
      let agent = try TestAgent(proxy.path)
      _ = try agent.hello()
      let (address, _) = try add("shop/a", to: agent)
      try agent.send { $0.drain.seconds = 30 }
      _ = try agent.receive { if case .drained = $0.body { true } else { nil } }
      try proxy.finished()
      _ = address
    }

    @Test func podsComeAndGoAHundredTimes() throws {
      defer { proxy.stop() }
      let agent = try TestAgent(proxy.path)
      _ = try agent.hello()
      func round(_ index: Int) throws {
        let (address, _) = try add("shop/p\(index % 3)", to: agent)
        #expect(isServed(address))
        let sockets = try (0..<16).map { _ in try TestSocket.pooled() }
        try agent.send(sockets) { $0.sockets.uid = "shop/p\(index % 3)" }
        for fd in sockets { close(fd) }
        try agent.send { $0.removePod.uid = "shop/p\(index % 3)" }
      }
      for index in 0..<3 { try round(index) }
      _ = try agent.query("statistics")
      let before = try settledDescriptors()
      for index in 0..<100 { try round(index) }
      _ = try agent.query("statistics")
      #expect(try eventually { try openDescriptors() <= before })
    }
  }
}
