import CLibbpf
import Capture
import Discovery
import Foundation
import Glibc
import MeshModel
import Testing

@testable import AgentCore

extension AgentTests {
  /// An agent after another, and a proxy in the place of another, while load runs.
  @Suite struct Rollouts {
    private static let service = "10.96.0.9"
    private static let requests = Int(ProcessInfo.processInfo.environment["WEFT_ROLLOUT_REQUESTS"] ?? "") ?? 4_000

    /// HTTP/1.1 on 8080, HTTP/2 on 8081 and an echo on 8082.
    private static let server = """
      def serve(port, handle):
        listener = socket.create_server(('0.0.0.0', port), backlog=512)
        listener.settimeout(None)
        def accept():
          while True:
            s, _ = listener.accept(); s.settimeout(None)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=guarded, args=(handle, s), daemon=True).start()
        threading.Thread(target=accept, daemon=True).start()
      def guarded(handle, s):
        try: handle(s)
        except OSError: pass
        finally: s.close()
      def http1(s):
        data = b''
        while True:
          while b'\\r\\n\\r\\n' not in data:
            more = s.recv(65536)
            if not more: return
            data += more
          data = data.split(b'\\r\\n\\r\\n', 1)[1]
          s.sendall(b'HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nok')
      def frame(kind, flags, stream, payload=b''):
        return struct.pack('>I', len(payload))[1:] + bytes([kind, flags]) + struct.pack('>I', stream) + payload
      def http2(s):
        data = b''
        def need(n):
          nonlocal data
          while len(data) < n:
            more = s.recv(65536)
            if not more: raise OSError(0, 'end')
            data += more
        need(24); data = data[24:]
        s.sendall(frame(4, 0, 0))
        while True:
          need(9)
          length = int.from_bytes(data[:3], 'big'); kind, flags = data[3], data[4]
          stream = int.from_bytes(data[5:9], 'big') & 0x7fffffff
          need(9 + length)
          payload = data[9:9 + length]; data = data[9 + length:]
          if kind == 4 and not flags & 1: s.sendall(frame(4, 1, 0))
          if kind == 6 and not flags & 1: s.sendall(frame(6, 1, 0, payload))
          if kind in (0, 1) and flags & 1: s.sendall(frame(1, 5, stream, b'\\x88'))
          if kind == 7: return
      def echo(s):
        while True:
          data = s.recv(65536)
          if not data: return
          s.sendall(data)
      serve(8080, http1); serve(8081, http2); serve(8082, echo)
      """

    /// Clients that count what was answered, and keep what went wrong.
    private static let client = """
      done = {}; failures = []; running = True
      class Broken(Exception): pass
      def open_(port):
        s = socket.create_connection(('10.96.0.9', port), timeout=20)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s
      def read(s, data, until):
        while not until(data):
          more = s.recv(65536)
          if not more: raise Broken('the connection ended')
          data += more
        return data
      def request(s, close):
        s.sendall(b'GET / HTTP/1.1\\r\\nhost: web\\r\\n' + (b'connection: close\\r\\n' if close else b'') + b'\\r\\n')
        head = read(s, b'', lambda d: b'\\r\\n\\r\\nok' in d)
        if not head.startswith(b'HTTP/1.1 200'): raise Broken(head[:80])
        return b'connection: close' in head.lower()
      def kept():
        s = open_(80)
        def once():
          nonlocal s
          if s is None: s = open_(80)
          if request(s, False): s.close(); s = None
        return once
      def fresh():
        def once():
          s = open_(80); request(s, True); s.close()
        return once
      def frame(kind, flags, stream, payload=b''):
        return struct.pack('>I', len(payload))[1:] + bytes([kind, flags]) + struct.pack('>I', stream) + payload
      def http2():
        s = None; stream = 1; data = b''; leaving = False
        def once():
          nonlocal s, stream, data, leaving
          if s is None or leaving:
            if s: s.close()
            s = open_(81); stream = 1; data = b''; leaving = False
            s.sendall(b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' + frame(4, 0, 0))
          s.sendall(frame(1, 5, stream, b'\\x82\\x86\\x84\\x41\\x03web'))
          while True:
            data = read(s, data, lambda d: len(d) >= 9 and len(d) >= 9 + int.from_bytes(d[:3], 'big'))
            length = int.from_bytes(data[:3], 'big'); kind, flags = data[3], data[4]
            about = int.from_bytes(data[5:9], 'big') & 0x7fffffff
            payload = data[9:9 + length]; data = data[9 + length:]
            if kind == 4 and not flags & 1: s.sendall(frame(4, 1, 0))
            if kind == 6 and not flags & 1: s.sendall(frame(6, 1, 0, payload))
            if kind == 7:
              leaving = True
              if int.from_bytes(payload[:4], 'big') & 0x7fffffff < stream:
                s.close(); s = None
                return once()
            if kind == 3: raise Broken('reset')
            if kind == 1 and about == stream and payload[:1] != b'\\x88': raise Broken(payload)
            if kind in (0, 1) and about == stream and flags & 1: break
          stream += 2
        return once
      def raw():
        def once():
          s = open_(82)
          for i in range(5):
            s.sendall(b'hello %d' % i); read(s, b'', lambda d: d == b'hello %d' % i)
          s.close()
        return once
      def work(kind):
        once = None
        while running:
          try:
            once = once or kind()
            once(); done[kind.__name__] = done.get(kind.__name__, 0) + 1
          except Exception as e:
            failures.append((kind.__name__, repr(e))); once = None
      def start():
        for kind in (kept, kept, kept, fresh, http2, http2, raw):
          threading.Thread(target=work, args=(kind,), daemon=True).start()
      """

    /// Two pods of an agent whose next ones replace its proxy: `server` in one, `client` in the other.
    private func withTraffic(
      memberships: [Workload.Membership] = [], services: [ReceivedResource] = [], drainSeconds: UInt32,
      client program: String, _ body: (AgentNode, _ client: PodProgram) async throws -> Void
    ) async throws {
      let web = try Sample.workload("web", addresses: [IPAddress("10.9.12.2")!], memberships: memberships)
      let user = try Sample.workload("user", addresses: [IPAddress("10.9.12.1")!])
      let adjust: (inout AgentConfiguration) -> Void = {
        $0.replacesProxy = true
        $0.drainSeconds = drainSeconds
      }
      try await withAgent([web, user], services: services, keepsOnExit: true, adjust: adjust) { node in
        try node.joinAgentCgroup()
        let (a, b) = (try lonelyNamespace("10.9.12.1"), try lonelyNamespace("10.9.12.2"))
        try node.announce("user", in: a, "10.9.12.1")
        try node.announce("web", in: b, "10.9.12.2")
        #expect(await node.becomes("enrolled", "user"))
        #expect(await node.becomes("enrolled", "web"))
        let apps = try node.cgroup("apps")
        let server = try PodProgram(cgroup: apps, namespace: b, Self.server)
        let client = try PodProgram(cgroup: apps, namespace: a, program)
        defer {
          client.stop()
          server.stop()
        }
        #expect(try await server.ask("1") == "1")
        try await body(node, client)
      }
    }

    @Test func noRequestIsLostWhileAgentsAndProxiesFollowOneAnother() async throws {
      func port(_ number: UInt16, _ name: String, _ proto: String) -> Service.Port {
        Service.Port(port: number, name: name, appProtocol: proto, transport: .tcp)
      }
      let membership = Workload.Membership(
        service: ServiceKey(namespace: "shop", name: "web"),
        ports: [(80, 8080), (81, 8081), (82, 8082)].map { .init(servicePort: $0, targetPort: $1) })
      let service = try Sample.service(
        "web", Self.service, [port(80, "http", "http"), port(81, "http2", "http2"), port(82, "tcp", "tcp")])
      try await withTraffic(memberships: [membership], services: [service], drainSeconds: 30, client: Self.client) {
        node, client in
        _ = try await client.ask("start()")
        func count() async throws -> Int { Int(try await client.ask("sum(done.values())")) ?? 0 }
        let runs = try await eventually(seconds: 20) { try await count() > 100 }
        let told = try await client.ask("(done, failures[:3])")
        try #require(runs, "\(told)")
        var proxies: Set<Int32> = [await node.agent.supervisor.pid]
        for round in 1...3 {
          let before = try await count()
          try await node.stop()
          try node.startAgain()
          let isReplaced = await eventually(seconds: 30) { await node.agent.rollout == .done }
          #expect(isReplaced)
          #expect(await node.agent.problems["replacement of the proxy"] == nil)
          proxies.insert(await node.agent.supervisor.pid)
          let goesOn = try await eventually(seconds: 60) { try await count() >= before + Self.requests / 3 }
          #expect(goesOn, "round \(round)")
        }
        #expect(proxies.count == 4, "each round has a proxy of its own")
        _ = try await client.ask("globals().update(running=False)")
        try await Task.sleep(for: .milliseconds(500))
        let failures = try await client.ask("failures")
        #expect(failures == "[]", "\(failures.prefix(2000))")
        print("rollout under load:", try await client.ask("sorted(done.items())"), "failures:", failures.prefix(200))
        // The last one that was replaced ends when its idle connections have, or its time is over.
        let isAlone = await eventually(seconds: 40) { node.proxyProcesses.split(separator: "\n").count == 1 }
        #expect(isAlone)
      }
    }

    @Test func theProxyBeforeCarriesWhatIsOpenUntilItsTimeIsOver() async throws {
      try await withTraffic(drainSeconds: 20, client: "s = socket.socket()") { node, client in
        _ = try await client.ask("s.connect(('10.9.12.2', 8082))")
        let echo = "(s.sendall(b'x'), s.recv(1))[1]"
        #expect(try await client.ask(echo) == "b'x'")
        let before = await node.agent.supervisor.pid
        try await node.stop()
        try node.startAgain()
        let isReplaced = await eventually(seconds: 30) { await node.agent.rollout == .done }
        #expect(isReplaced)
        let after = await node.agent.supervisor.pid
        #expect(after != before)
        #expect(try await client.ask(echo) == "b'x'", "it goes on in the proxy before")
        let proxies = { node.proxyProcesses.split(separator: "\n").compactMap { Int32($0) } }
        #expect(Set(proxies()) == [before, after])
        let isOver = await eventually(seconds: 60) { proxies() == [after] }
        #expect(isOver)
        let end = try await client.ask("(s.settimeout(5), s.recv(1))[1]")
        #expect(end.contains("reset") || end == "b''", "\(end)")
      }
    }

    @Test func anAgentOfAnotherLayoutLeavesTheOneBeforeServing() async throws {
      try await withAgent([try Sample.workload("web")], keepsOnExit: true) { node in
        try node.announce("web")
        #expect(await node.becomes("enrolled", "web"))
        let proxy = await node.agent.supervisor.pid
        try await node.stop()
        let heartbeat = bpf_obj_get(node.bpffs + "/maps/weft_heartbeat")
        defer { Glibc.close(heartbeat) }
        var (key, value) = (UInt32(0), weft_heartbeat(at: 1, layout: 99, pad: 0))
        #expect(bpf_map_update_elem(heartbeat, &key, &value, 0) == 0)
        let pins = node.leftovers
        let refusal = #expect(throws: CaptureError.self) { try node.startAgain() }
        #expect(refusal?.reason == .pinnedLayout && refusal?.description.contains("weft-agent clean") == true)
        #expect(node.proxyProcesses == "\(proxy)\n", "it serves on")
        #expect(node.leftovers == pins)
        #expect(try node.clean() == [], "what the refusal names")
        #expect(node.proxyProcesses.isEmpty && node.leftovers.isEmpty)
      }
    }

    @Test func cleaningANodeLeavesNothingOfTheAgentAndItsProxy() async throws {
      try await withAgent([try Sample.workload("web")], keepsOnExit: true) { node in
        try node.announce("web")
        #expect(await node.becomes("enrolled", "web"))
        #expect(throws: AgentError.self, "an agent that runs would make everything anew") { try node.clean() }
        #expect(await node.state("web") == "enrolled")
        try await node.stop()
        #expect(!node.proxyProcesses.isEmpty && node.leftovers.count == 5)
        #expect(try node.clean() == [])
        #expect(node.proxyProcesses.isEmpty && node.leftovers.isEmpty, "\(node.leftovers)")
        #expect(try node.clean() == [], "and again, where nothing is")
      }
    }

    @Test func theSameProgramIsKept() async throws {
      try await withAgent([try Sample.workload("web")], keepsOnExit: true) { node in
        try node.announce("web")
        #expect(await node.becomes("enrolled", "web"))
        let proxy = await node.agent.supervisor.pid
        try await node.stop()
        try node.startAgain()
        let isDecided = await eventually { await node.agent.rollout == .done }
        #expect(isDecided)
        #expect(await node.agent.supervisor.pid == proxy)
      }
    }

    @Test func aProxyThatDoesNotComeUpLeavesTheOneBeforeServing() async throws {
      try await withAgent([try Sample.workload("web")], keepsOnExit: true) { node in
        try node.announce("web")
        #expect(await node.becomes("enrolled", "web"))
        let proxy = await node.agent.supervisor.pid
        try await node.stop()
        let broken = try node.folder.write("#!/bin/sh\nexit 3\n", to: "broken-proxy", mode: 0o755)
        try node.startAgain { $0.proxyProgram = broken }
        let isDecided = await eventually { await node.agent.rollout == .done }
        #expect(isDecided)
        #expect(await node.agent.problems["replacement of the proxy"]?.contains("doesn't come up") == true)
        #expect(await node.agent.supervisor.pid == proxy)
        #expect(try await node.agent.proxyPods() == ["shop/web"])
        #expect(await node.state("web") == "enrolled")
      }
    }
  }
}
