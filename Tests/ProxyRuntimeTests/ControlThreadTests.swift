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

    private func workload(_ name: String, address: [UInt8]) -> Weft_Mesh_V1_Workload {
      var workload = Weft_Mesh_V1_Workload(Workload.at("shop/\(name)", "10.0.0.1"))
      workload.addresses = [.init(address)]
      return workload
    }

    @Test func updatesAreAnsweredByVersion() throws {
      defer { proxy.stop() }
      let agent = try TestAgent(proxy.path)
      _ = try agent.hello()
      func apply(_ version: UInt64, _ fill: (inout Weft_Proxy_V1_MeshUpdate) -> Void) throws -> Weft_Proxy_V1_MeshAck {
        var update = Weft_Proxy_V1_MeshUpdate()
        update.version = version
        update.node = "one"
        fill(&update)
        try agent.send { $0.mesh = update }
        return try agent.receive { if case .meshAck(let ack) = $0.body { ack } else { nil } }
      }
      let first = try apply(1) {
        $0.complete = true
        $0.workloads = [workload("a", address: [10, 0, 0, 1]), workload("b", address: [10, 0, 0, 2])]
      }
      #expect(first.version == 1 && first.error.isEmpty)
      // One bad workload: nothing of the update holds.
      let second = try apply(2) {
        $0.workloads = [workload("c", address: [10, 0, 0, 3]), workload("d", address: [1, 2, 3])]
        $0.removedWorkloads = ["shop/a"]
      }
      #expect(second.version == 2)
      #expect(second.error.contains("shop/d") && second.error.contains("addresses"))
      #expect(try agent.query("statistics").contains("\"workloads\":2"))
      let third = try apply(3) { $0.removedWorkloads = ["shop/a", "shop/nobody"] }
      #expect(third.error.isEmpty)
      #expect(try agent.query("statistics").contains("\"workloads\":1"))
      let fourth = try apply(4) { $0.config = .with { $0.trustDomain = "Not A Domain" } }
      #expect(!fourth.error.isEmpty)
    }

    /// Workers never see a part of it: to a pod that isn't in the mesh yet they'd connect in plaintext.
    @Test func aChangeInPartsIsMadeAsOne() throws {
      var state = ProxyState()
      func part(_ names: [String], complete: Bool = false, more: Bool) throws -> Bool {
        try state.apply(
          .with {
            $0.complete = complete
            $0.more = more
            $0.workloads = names.enumerated().map { workload($1, address: [10, 0, 0, UInt8($0 + 1)]) }
          })
      }
      let bad = Weft_Proxy_V1_MeshUpdate.with {
        $0.more = true
        $0.workloads = [workload("x", address: [1, 2, 3])]
      }
      #expect(try part(["a", "b"], more: false))
      #expect(try !part(["c"], complete: true, more: true))
      #expect(try !part(["d"], more: true))
      #expect(state.snapshot.workloadCount == 2 && state.snapshot.workload(id: "shop/a") != nil)
      #expect(try part(["e"], more: false))
      #expect(state.snapshot.workloadCount == 3 && state.snapshot.workload(id: "shop/a") == nil)
      // One part that can't be used: none of them counts, and the next change begins anew.
      #expect(try !part(["f"], complete: true, more: true))
      #expect(throws: InvalidResource.self) { try state.apply(bad) }
      #expect(throws: InvalidResource.self) { try part(["g"], more: true) }
      #expect(throws: InvalidResource.self) { try part(["h"], more: false) }
      #expect(state.snapshot.workloadCount == 3)
      #expect(try part(["i"], more: false))
      #expect(state.snapshot.workloadCount == 4)
      // An agent that went in the middle of it.
      #expect(try !part(["j"], complete: true, more: true))
      state.forgetParts()
      #expect(try part(["k"], more: false))
      #expect(state.snapshot.workloadCount == 5 && state.snapshot.workload(id: "shop/j") == nil)
    }

    @Test func identitiesNeedTheirBundleInEitherOrder() throws {
      defer { proxy.stop() }
      let mesh = try TestAuthority.mesh.get()
      let agent = try TestAgent(proxy.path)
      _ = try agent.hello()
      func give(_ name: String, key: [UInt8]? = nil, chain: [[UInt8]]? = nil) throws {
        let held = try mesh.held(name)
        try agent.send {
          $0.identity.spiffeID = SPIFFEID.of(name).description
          $0.identity.chain = (chain ?? held.certificate.chain).map { .init($0) }
          $0.identity.privateKey = .init(key ?? held.key.pkcs8DER)
        }
      }
      try give("a")
      #expect(try agent.query("dump").contains("\"identities\":[]"))
      try agent.send { $0.trustBundle.roots = mesh.roots.map { .init($0) } }
      #expect(try agent.query("dump").contains("\"identities\":[\"\(SPIFFEID.of("a"))\"]"))
      try give("b")
      // What can't be used is refused, and what was there stays.
      try give("c", key: [1, 2, 3])
      try give("d", chain: [[0, 1, 2]])
      try give("e", chain: [])
      try give("a", key: mesh.held("b").key.pkcs8DER)
      try agent.send { $0.identity.spiffeID = "spiffe://cluster.local/node/one" }
      let both = "\"identities\":[\"\(SPIFFEID.of("a"))\",\"\(SPIFFEID.of("b"))\"]"
      #expect(try agent.query("dump").contains(both))
      // So is a bundle that is none: what is given afterwards works with the one before.
      for roots in [[], [[1, 2, 3]]] as [[[UInt8]]] {
        try agent.send { $0.trustBundle.roots = roots.map { .init($0) } }
      }
      try give("f")
      #expect(try agent.query("dump").contains("\"\(SPIFFEID.of("f"))\""))
    }

    @Test func oneBrokenIdentityKeepsNoOtherFromTheBundle() throws {
      let mesh = try TestAuthority.mesh.get()
      var state = ProxyState()
      func identity(_ name: String, _ key: [UInt8]? = nil) throws -> Weft_Proxy_V1_Identity {
        let held = try mesh.held(name)
        return .with {
          $0.spiffeID = SPIFFEID.of(name).description
          $0.chain = held.certificate.chain.map { .init($0) }
          $0.privateKey = .init(key ?? held.key.pkcs8DER)
        }
      }
      // Before there is a bundle nothing can be checked.
      #expect(try state.set(identity("a")) == nil)
      #expect(try state.set(identity("b", [1])) == nil)
      #expect(try state.set(identity("c")) == nil)
      let (made, failures) = state.set(.with { $0.roots = mesh.roots.map { .init($0) } })
      #expect(Set(made.map(\.id)) == [.of("a"), .of("c")])
      #expect(failures.count == 1)
      // A broken successor leaves the good one in place.
      #expect(throws: TLSFailure.self) { _ = try state.set(identity("a", [1])) }
      #expect(state.set(.with { $0.roots = mesh.roots.map { .init($0) } }).made.count == 2)
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
        $0.mesh.workloads = [workload("a", address: [127, 77, 2, 1])]
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
