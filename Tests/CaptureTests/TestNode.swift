import CLinux
import Foundation
import MeshModel
import Synchronization
import Testing

@testable import Capture

/// The eBPF object, built on demand.
let bpfObject: Result<String, any Error> = Result {
  let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path
  try shell("make -s -C '\(root)/bpf'")
  return "\(root)/bpf/build/weft.bpf.o"
}

/// Loading programs, attaching them and making namespaces needs root and a cgroup v2 hierarchy.
let canCapture: Bool = {
  var effective: UInt64 = 0
  guard geteuid() == 0, weft_thread_capabilities(&effective) == 0, effective >> 39 & 1 == 1 else { return false }
  return (try? CgroupTree.find()) != nil
}()

/// Every test that loads programs is in here, one at a time: they move the test process between cgroups.
@Suite(.serialized, .enabled(if: canCapture, "needs root with CAP_BPF and cgroup v2")) struct KernelTests {}

/// A node for one test: two namespaces joined by a veth pair, cgroups, an engine. `close()` takes everything away; the
/// namespaces have no names and go with the process at the latest.
final class TestNode {
  static let counter = Mutex(0)

  let name: String
  let root: String
  let home: String
  var configuration: CaptureConfiguration
  private(set) var engine: CaptureEngine
  let thread: NamespaceThread
  let a: NetworkNamespace
  let b: NetworkNamespace
  private var processes: [PodProcess] = []
  private var descriptors: [CInt] = []

  static let a4 = "10.9.0.2"
  static let b4 = "10.9.0.3"
  static let a6 = "fd09::2"
  static let b6 = "fd09::3"
  static let addressesOfA = [a4, a6].compactMap { IPAddress($0) }
  static let addressesOfB = [b4, b6].compactMap { IPAddress($0) }

  init(_ adjust: (inout CaptureConfiguration) -> Void = { _ in }) throws {
    let number = Self.counter.withLock {
      $0 += 1
      return $0
    }
    name = "weft-test-\(getpid())-\(number)"
    let tree = try CgroupTree.find()
    home = try tree.own()
    root = "\(tree.mountPoint)/\(name)"
    for folder in ["", "/agent", "/bypass", "/a", "/b"] { try Files.makeFolder(root + folder) }
    try Self.move(getpid(), to: root + "/agent")
    configuration = CaptureConfiguration(
      objectPath: try bpfObject.get(), bpffsDirectory: "/sys/fs/bpf/\(name)", cgroupRoot: root,
      agentCgroup: root + "/agent", bypassCgroups: [root + "/agent", root + "/bypass"])
    adjust(&configuration)
    thread = try NamespaceThread()
    a = try NetworkNamespace()
    b = try NetworkNamespace()
    engine = try CaptureEngine(configuration)
    try wire()
  }

  private func wire() throws {
    let (a, b) = (path(self.a), path(self.b))
    try shell(
      """
      nsenter --net=\(a) sh -ec 'ip link add eth0 type veth peer name eth0 netns \(b)
        ip addr add \(Self.a4)/24 dev eth0; ip addr add \(Self.a6)/64 dev eth0 nodad
        ip link set lo up; ip link set eth0 up'
      nsenter --net=\(b) sh -ec 'ip addr add \(Self.b4)/24 dev eth0; ip addr add \(Self.b6)/64 dev eth0 nodad
        ip link set lo up; ip link set eth0 up'
      """)
  }

  func path(_ namespace: NetworkNamespace) -> String { "/proc/\(getpid())/fd/\(namespace.descriptor)" }

  /// A process in the cgroup of pod `a` or `b`, or in `bypass`.
  func process(_ cgroup: String, in namespace: NetworkNamespace) throws -> PodProcess {
    let process = try PodProcess(cgroup: "\(root)/\(cgroup)", namespace: path(namespace))
    processes.append(process)
    return process
  }

  /// Closed with the node.
  func keep(_ descriptors: [CInt]) -> [CInt] {
    self.descriptors += descriptors
    return descriptors
  }

  func listeners(in namespace: NetworkNamespace) async throws -> [CInt] {
    keep(try await thread.run(in: namespace) { try PodSockets.openListeners() })
  }

  /// Enrols pod a or b with fresh listeners.
  func enrol(
    _ namespace: NetworkNamespace, failMode: FailMode = .closed, probePorts: [UInt16] = []
  ) async throws -> [CInt] {
    let listeners = try await listeners(in: namespace)
    let isA = namespace === a
    try engine.enrol(
      PodEnrolment(
        uid: isA ? "test/a" : "test/b", namespace: namespace,
        addresses: isA ? Self.addressesOfA : Self.addressesOfB,
        inboundListener: listeners[PodListener.inbound.rawValue], failMode: failMode, probePorts: probePorts))
    return listeners
  }

  /// As a new agent would: from the pins alone.
  func reload() throws { engine = try CaptureEngine(configuration) }

  func fill(_ map: String) throws -> Int? { try engine.inspect().maps.first { $0.name == map }?.entries }

  func close() {
    for process in processes { process.stop() }
    for descriptor in descriptors { Glibc.close(descriptor) }
    engine.detach()
    for folder in ["/agent", "/bypass", "/a", "/b", ""] {
      for pid in (Files.read("\(root)\(folder)/cgroup.procs") ?? "").split(separator: "\n").compactMap({ Int32($0) }) {
        try? Self.move(pid, to: home)
      }
      rmdir(root + folder)
    }
  }

  private static func move(_ pid: pid_t, to cgroup: String) throws {
    try "\(pid)".write(toFile: cgroup + "/cgroup.procs", atomically: false, encoding: .utf8)
  }
}

/// Runs a test on a node of its own and takes the node away, whatever happens.
func withNode(
  _ adjust: (inout CaptureConfiguration) -> Void = { _ in }, _ body: (TestNode) async throws -> Void
) async throws {
  let node = try TestNode(adjust)
  defer { node.close() }
  try await body(node)
}
