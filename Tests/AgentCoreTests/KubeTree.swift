import Capture
import Foundation

@testable import AgentCore

/// A kubelet's part of the cgroup tree, with real processes in it.
final class KubeTree {
  let root: String
  private var processes: [PodProgram] = []

  init(root: String) throws {
    self.root = root
    for folder in ["kubepods", "kubepods/burstable", "kubepods/besteffort"] { try Self.make("\(root)/\(folder)") }
  }

  /// The UID of the pod of a number.
  static func uid(_ number: Int) -> String {
    let digits = String(number, radix: 16)
    return "00000000-1111-2222-3333-" + String(repeating: "0", count: 12 - digits.count) + digits
  }

  static func container(_ number: Int) -> String {
    let digits = String(number, radix: 16)
    return String(repeating: "a", count: 64 - digits.count) + digits
  }

  func path(_ uid: String) -> String { "\(root)/kubepods/burstable/pod\(uid)" }

  /// The pod's folder, as the kubelet makes it first.
  func make(pod uid: String) throws { try Self.make(path(uid)) }

  /// A container of the pod and its process.
  func start(
    _ uid: String, container: Int = 1, in namespace: NetworkNamespace?, _ code: String = ""
  ) throws -> PodProgram {
    let folder = "\(path(uid))/\(Self.container(container))"
    try Self.make(folder)
    let program = try PodProgram(cgroup: folder, namespace: namespace, code)
    processes.append(program)
    return program
  }

  /// A container whose process does nothing. Returns when it was begun: monotonic nanoseconds.
  func startSleeping(_ uid: String, in namespace: NetworkNamespace) throws -> UInt64 {
    let folder = "\(path(uid))/\(Self.container(1))"
    try Self.make(folder)
    let began = DispatchTime.now().uptimeNanoseconds
    let enter = "nsenter --net=/proc/\(getpid())/fd/\(namespace.descriptor)"
    processes.append(try PodProgram(command: "echo $$ > \(folder)/cgroup.procs && exec \(enter) sleep 300"))
    return began
  }

  func remove(_ uid: String, container: Int) async {
    let folder = "\(path(uid))/\(Self.container(container))"
    _ = await eventually { rmdir(folder) == 0 || errno == ENOENT }
  }

  func remove(pod uid: String) async {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: path(uid))) ?? [] where name.count == 64 {
      _ = await eventually { rmdir("\(path(uid))/\(name)") == 0 || errno == ENOENT }
    }
    _ = await eventually { rmdir(self.path(uid)) == 0 || errno == ENOENT }
  }

  func close() {
    for process in processes { process.stop() }
    let folders = (try? FileManager.default.subpathsOfDirectory(atPath: root + "/kubepods")) ?? []
    for _ in 0..<50 {
      for path in folders.sorted(by: >) { rmdir("\(root)/kubepods/\(path)") }
      if rmdir(root + "/kubepods") == 0 { return }
      usleep(20_000)
    }
  }

  private static func make(_ path: String) throws {
    guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw AgentError("\(path): \(errno)") }
  }
}

/// A Python program in a pod's cgroup and network namespace, which begins at once with `code` and then answers each
/// expression on its input with a line.
final class PodProgram {
  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()
  private var buffered: [UInt8] = []

  private static let prelude = """
    import os, socket, struct, sys, threading, time
    socket.setdefaulttimeout(20)
    """
  private static let loop = """

    for line in sys.stdin:
      try: print(eval(line), flush=True)
      except OSError as e: print('error', e.errno, flush=True)
    """

  init(cgroup: String?, namespace: NetworkNamespace?, _ code: String = "") throws {
    let enter = namespace.map { "nsenter --net=/proc/\(getpid())/fd/\($0.descriptor)" } ?? ""
    let join = cgroup.map { "echo $$ > \($0)/cgroup.procs && " } ?? ""
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = [
      "-c", "\(join)exec \(enter) python3 -SEu -c \"$0\"", Self.prelude + "\n" + code + Self.loop,
    ]
    process.standardInput = input
    process.standardOutput = output
    try process.run()
  }

  init(command: String) throws {
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", command]
    try process.run()
  }

  var pid: Int32 { process.processIdentifier }

  /// The expression's value as Python prints it, or `error` and its number.
  func ask(_ expression: String) async throws -> String {
    try input.fileHandleForWriting.write(contentsOf: Data((expression + "\n").utf8))
    let handle = output.fileHandleForReading
    while !buffered.contains(UInt8(ascii: "\n")) {
      let chunk = try await onThread { handle.availableData }
      guard !chunk.isEmpty else { throw AgentError("the pod's program has ended") }
      buffered += chunk
    }
    let end = buffered.firstIndex(of: UInt8(ascii: "\n")) ?? buffered.endIndex
    defer { buffered.removeSubrange(...end) }
    return String(decoding: buffered[..<end], as: UTF8.self)
  }

  func stop() {
    guard process.isRunning else { return }
    kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
  }
}

/// A pod's network and what is at its other end, where every packet can be seen.
final class PodNetwork {
  static let address = "10.9.9.2"
  static let peer = "10.9.9.1"

  let pod: NetworkNamespace
  let outside: NetworkNamespace
  private let capture: PodProgram

  init() throws {
    pod = try NetworkNamespace()
    outside = try NetworkNamespace()
    let (a, b) = ("/proc/\(getpid())/fd/\(pod.descriptor)", "/proc/\(getpid())/fd/\(outside.descriptor)")
    try run(
      """
      nsenter --net=\(a) sh -ec 'ip link add eth0 type veth peer name eth0 netns \(b)
        ip addr add \(Self.address)/24 dev eth0; ip link set lo up; ip link set eth0 up; ip route add default via \(Self.peer)'
      nsenter --net=\(b) sh -ec 'ip addr add \(Self.peer)/24 dev eth0; ip link set lo up; ip link set eth0 up'
      """)
    // IPv4 from the pod's address: neighbour discovery is nobody's data.
    capture = try PodProgram(
      cgroup: nil, namespace: outside,
      """
      seen = []
      def watch():
        s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        s.settimeout(None)
        while True:
          data, where = s.recvfrom(2048)
          if where[2] != 4: seen.append(data[9])
      threading.Thread(target=watch, daemon=True).start()
      """)
  }

  /// The IP protocols of the packets that came out of the pod so far.
  func packets() async throws -> [Int] {
    let text = try await capture.ask("seen")
    return text.split(whereSeparator: { !$0.isNumber }).compactMap { Int($0) }
  }

  func close() { capture.stop() }
}

/// A namespace with one address, connected to nothing.
func lonelyNamespace(_ address: String) throws -> NetworkNamespace {
  let namespace = try NetworkNamespace()
  try run(
    "nsenter --net=/proc/\(getpid())/fd/\(namespace.descriptor) sh -ec 'ip link set lo up; ip addr add \(address)/32 dev lo'"
  )
  return namespace
}

func run(_ command: String) throws {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/bin/sh")
  process.arguments = ["-ec", command]
  try process.run()
  process.waitUntilExit()
  guard process.terminationStatus == 0 else { throw AgentError("\(command): status \(process.terminationStatus)") }
}
