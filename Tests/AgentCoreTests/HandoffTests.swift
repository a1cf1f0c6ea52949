import Capture
import Discovery
import Foundation
import Glibc
import MeshModel
import Testing

@testable import AgentCore

/// A pod whose namespace nobody shows to the agent but the pod's stub, the real `weft-stub handoff`.
final class HandoffPod {
  static let uid = KubeTree.uid(0x5a)

  let network: PodNetwork
  let tree: KubeTree
  let app: PodProgram
  let peer: PodProgram
  private let node: AgentNode
  private var stub: Process?
  private var container = 10

  /// Both answer each line, and say who asked.
  private static let server = """
    l = socket.socket(); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); l.bind(('0.0.0.0', 8080)); l.listen(512)
    l.settimeout(None)
    def serve():
      while True:
        c, who = l.accept(); c.settimeout(None)
        threading.Thread(target=talk, args=(c, who), daemon=True).start()
    def talk(c, who):
      try:
        while True:
          data = c.recv(65536)
          if not data: break
          c.sendall(data + b'|' + who[0].encode())
      finally: c.close()
    threading.Thread(target=serve, daemon=True).start()
    def ask(to, text='x', count=1):
      s = socket.create_connection((to, 8080), 20)
      for _ in range(count):
        s.sendall(text.encode()); answer = s.recv(65536).decode()
      s.close()
      return answer
    load = {'good': 0, 'bad': []}
    going = True
    def hammer(to):
      while going:
        try: ask(to); load['good'] += 1
        except OSError as e: load['bad'].append(repr(e))
    def start(to):
      for _ in range(4): threading.Thread(target=hammer, args=(to,), daemon=True).start()
    def stop():
      global going
      going = False
    """

  /// Waits until both programs do.
  func listens() async throws {
    for program in [app, peer] { _ = try await program.ask("0") }
  }

  init(_ node: AgentNode) throws {
    self.node = node
    network = try PodNetwork()
    tree = try KubeTree(root: node.cgroup)
    try tree.make(pod: Self.uid)
    app = try tree.start(Self.uid, in: network.pod, Self.server)
    peer = try PodProgram(cgroup: nil, namespace: network.outside, Self.server)
  }

  static var workload: ReceivedResource {
    get throws {
      try Sample.workload(
        "web", addresses: [IPAddress(PodNetwork.address)!], podUID: uid, mode: .stubHandoff)
    }
  }

  /// As the kubelet starts the container each time: in a cgroup of its own.
  @discardableResult
  func startStub(arguments: String = "") throws -> Int32 {
    container += 1
    let folder = "\(tree.path(Self.uid))/\(KubeTree.container(container))"
    guard mkdir(folder, 0o755) == 0 else { throw AgentError("\(folder): \(errno)") }
    let program = URL(filePath: AgentNode.proxyProgram).deletingLastPathComponent().path + "/weft-stub"
    let process = Process()
    process.executableURL = URL(filePath: "/bin/sh")
    process.arguments = [
      "-c",
      "echo $$ > \(folder)/cgroup.procs && exec nsenter --net=/proc/\(getpid())/fd/\(network.pod.descriptor) "
        + "\(program) handoff --socket \(node.folder.path)/run/stub/stub.sock 2>>\(node.folder.path)/stub.log",
    ]
    try process.run()
    stub = process
    return process.processIdentifier
  }

  func killStub() {
    guard let stub else { return }
    kill(stub.processIdentifier, SIGKILL)
    stub.waitUntilExit()
    self.stub = nil
  }

  var log: String { (try? String(contentsOfFile: node.folder.path + "/stub.log", encoding: .utf8)) ?? "" }

  func close() {
    killStub()
    peer.stop()
    network.close()
    tree.close()
  }
}

private func field(_ pid: Int32, _ file: String, _ body: (String) -> Int?) -> Int {
  (try? String(contentsOfFile: "/proc/\(pid)/\(file)", encoding: .utf8)).flatMap(body) ?? -1
}

/// Clock ticks of CPU so far.
private func ticks(_ pid: Int32) -> Int {
  field(pid, "stat") { text in
    let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
    return fields.count > 12 ? (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0) : nil
  }
}

private func resident(_ pid: Int32) -> Int {
  field(pid, "status") { text in
    text.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }?.split(separator: " ").dropFirst().first.flatMap {
      Int($0)
    }
  }
}

extension AgentTests {
  @Suite struct Handoff {
    @Test func theStubOpensWhatTheProxyServesAndCarriesNothing() async throws {
      try await withAgent([try HandoffPod.workload]) { node in
        let pod = try HandoffPod(node)
        defer { pod.close() }
        let stub = try pod.startStub()
        #expect(await node.becomes("enrolled", "web"), "\(pod.log)")
        try await pod.listens()
        #expect(try await node.agent.known().map(\.cookie) == [pod.network.pod.cookie])
        // In, with the client's own address; and out.
        #expect(try await pod.peer.ask("ask('10.9.9.2')") == "x|10.9.9.1")
        #expect(try await pod.app.ask("ask('10.9.9.1')") == "x|10.9.9.2")
        let counted = try await node.agent.statistics("web")
        #expect(counted?.captured == 1)
        // No byte goes through it: the CPU that it has used stays what it was.
        let before = ticks(stub)
        #expect(try await pod.peer.ask("ask('10.9.9.2', 'y', 3000)") == "y|10.9.9.1")
        #expect(try await pod.app.ask("ask('10.9.9.1', 'y', 3000)") == "y|10.9.9.2")
        // Two ticks at most, of its own: it opens sockets ahead of need. 6,000 exchanges would cost it far more.
        #expect(ticks(stub) - before <= 2)
        #expect((1...5 * 1024).contains(resident(stub)))
        print("stub in handoff mode: \(resident(stub)) KiB resident")
      }
    }

    @Test func withoutItsStubAPodIsNotCarriedAndTheReasonIsTold() async throws {
      let workload = try HandoffPod.workload
      try await withAgent([workload]) { node in
        let pod = try HandoffPod(node)
        defer { pod.close() }
        try node.announce("web", netns: "/proc/\(getpid())/fd/\(pod.network.pod.descriptor)")
        #expect(await node.becomes("failed", "web"))
        let told = String(decoding: await node.agent.answer("/v1/workloads").body, as: UTF8.self)
        #expect(told.contains("its stub isn't there") && told.contains(#""mode":"handoff""#))
        try pod.startStub()
        #expect(await node.becomes("enrolled", "web"), "\(pod.log)")
        try await pod.listens()
        #expect(try await pod.peer.ask("ask('10.9.9.2')") == "x|10.9.9.1")
      }
    }

    @Test func aStubThatIsKilledUnderLoadLosesNothingAndComesBack() async throws {
      try await withAgent([try HandoffPod.workload]) { node in
        let pod = try HandoffPod(node)
        defer { pod.close() }
        try pod.startStub()
        #expect(await node.becomes("enrolled", "web"), "\(pod.log)")
        try await pod.listens()
        _ = try await pod.peer.ask("start('10.9.9.2')")
        _ = try await pod.app.ask("start('10.9.9.1')")
        for _ in 0..<3 {
          try await Task.sleep(for: .milliseconds(700))
          pod.killStub()
          let isGone = await eventually { await node.agent.stubs.isEmpty }
          #expect(isGone)
          try await Task.sleep(for: .milliseconds(500))
          try pod.startStub()
          let isBack = await eventually { await !node.agent.stubs.isEmpty }
          #expect(isBack, "\(pod.log)")
        }
        for program in [pod.peer, pod.app] {
          _ = try await program.ask("stop()")
          try await Task.sleep(for: .milliseconds(200))
          let bad = try await program.ask("load['bad']")
          #expect(bad == "[]", "\(bad.prefix(500))")
          #expect(try await program.ask("load['good'] > 100") == "True")
          print("connections while a stub was killed three times:", try await program.ask("load['good']"))
        }
        #expect(await node.state("web") == "enrolled")
      }
    }

    @Test func itIsNotWhatItSaysButWhatTheKernelSays() async throws {
      try await withAgent([try HandoffPod.workload]) { node in
        let pod = try HandoffPod(node)
        defer { pod.close() }
        // A process of no pod, of whatever user.
        let stranger = try PodProgram(cgroup: nil, namespace: pod.network.pod)
        defer { stranger.stop() }
        let said = try await stranger.ask(
          "(lambda s, w: (s.connect('\(node.folder.path)/run/stub/stub.sock'), "
            + "socket.send_fds(s, [b'\\1\\1' + bytes(10)], [w.fileno()]), s.recv(512))[2])"
            + "(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET), socket.socket())")
        #expect(said.contains("no workload") || said == "b''", "\(said)")
        #expect(await node.agent.stubs.isEmpty)
        #expect(await node.state("web") == nil)
      }
    }

    @Test func aPodsNameIsReadFromTheFirstFolderThatIsAPods() {
      let uid = KubeTree.uid(1)
      func place(_ path: String) -> StubPeer.Place? { StubPeer.path("12:cpu:/x\n0::\(path)\n").flatMap(StubPeer.place) }
      let container = StubPeer.Place(podUID: uid, below: "/abc")
      #expect(place("/kubepods/burstable/pod\(uid)/abc") == container)
      #expect(place("/kubepods/burstable/pod\(uid)/kubepods/pod\(KubeTree.uid(2))")?.podUID == uid)
      #expect(place("/system.slice/pod\(uid)/abc") == nil)
      // As an agent in a container sees its neighbours, of its own class of service and of another.
      #expect(place("/../../pod\(uid)/abc") == container)
      #expect(place("/../../../burstable/pod\(uid)/abc") == container)
      let slice = "kubepods-burstable-pod\(uid.replacing("-", with: "_")).slice"
      #expect(place("/../../\(slice)/abc/pod\(KubeTree.uid(2))")?.podUID == uid)
      #expect(place("/../../\(slice)") == StubPeer.Place(podUID: uid, below: ""))
      #expect(place("/../../../../user.slice/user-1000.slice/user@1000.service/pod\(uid)") == nil, "anybody makes such")
      #expect(place("/kubepods/pod\(uid)/abc (deleted)") == nil)
      #expect(StubPeer.path("") == nil)
    }
  }
}
