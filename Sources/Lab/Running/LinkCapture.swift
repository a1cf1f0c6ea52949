import CLinux
import Foundation

/// A packet capture of what two nodes send each other.
public struct LinkCapture: Sendable {
  public var lab: LabName
  public var nodes: (String, String)
  /// nil until the caller ends it.
  public var seconds: Double?
  /// A pcap file; nil prints packets.
  public var file: String?
  /// More of tcpdump's own: options such as -X or -A, then a filter expression.
  public var arguments: [String] = []

  public init(lab: LabName, nodes: (String, String)) {
    self.lab = lab
    self.nodes = nodes
  }

  /// Runs tcpdump on the link with the caller's streams; it says "listening on" on standard error once it sees
  /// every packet.
  /// - Returns: tcpdump's exit status.
  public func run() throws -> Int32 {
    let layout = try Lab.layout(lab)
    let state = try LabState.load(layout)
    let first = try state.node(nodes.0)
    let second = try state.node(nodes.1)
    guard first.name != second.name else { throw LabError("--between takes two nodes, not \(first.name) twice") }
    guard let tcpdump = Commands.find("tcpdump", searchPath: Commands.searchPath, directory: "/") else {
      throw LabError("tcpdump isn't on this machine; install it")
    }
    let options = arguments.prefix { $0.hasPrefix("-") }
    let filter = arguments.dropFirst(options.count)
    var line = ["-i", "n\(first.index)", "-n", "-U", "--immediate-mode", "-Z", "root"]
    if let file { line += ["-w", file] } else { line += ["-l"] }
    line += options
    let between = Self.filter(first, second, state)
    line.append(filter.isEmpty ? between : "(\(between)) and (\(filter.joined(separator: " ")))")
    var launch = Launch(path: tcpdump, arguments: line, environment: Mesh.environment)
    launch.networkNamespace = layout.namespacePath(layout.linkNamespace)
    launch.cgroup = layout.linkCgroup
    guard let seconds else { try launch.execute() }
    launch.standardOutput = STDOUT_FILENO
    launch.standardError = STDERR_FILENO
    launch.isDaemon = false
    launch.parentDeathSignal = SIGTERM
    weft_lab_remember_interrupts()
    let pid = try launch.spawn()
    return try Self.wait(pid, seconds: seconds)
  }

  private static func wait(_ pid: Int32, seconds: Double) throws -> Int32 {
    var status: Int32 = 0
    let hasEnded = Waiting.poll(seconds: seconds, uninterrupted: false) { waitpid(pid, &status, WNOHANG) == pid }
    if !hasEnded {
      kill(pid, SIGINT)
      while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    }
    return ProcessEnd(waitStatus: status).shellCode
  }

  /// Between the nodes themselves and their pods, whichever way.
  private static func filter(_ first: LabState.Node, _ second: LabState.Node, _ state: LabState) -> String {
    let left = networks(first, state)
    let right = networks(second, state)
    let pairs = left.flatMap { one in right.map { (one, $0) } }.filter { $0.0.contains(":") == $0.1.contains(":") }
    return pairs.map { "((src net \($0) and dst net \($1)) or (src net \($1) and dst net \($0)))" }
      .joined(separator: " or ")
  }

  private static func networks(_ node: LabState.Node, _ state: LabState) -> [String] {
    var networks = ["\(node.addresses[0])/32", AddressPlan.podRangeV4(node: node.index)]
    if state.hasIPv6 { networks += ["\(node.addresses[1])/128", AddressPlan.podRangeV6(node: node.index)] }
    return networks
  }
}
