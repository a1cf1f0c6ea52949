import AgentCore
import ArgumentParser
import Capture
import Discovery
import Foundation
import Logging
import MeshModel
import Observability

@main
struct WeftAgent: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "weft-agent",
    abstract: "One node's agent: captures the sockets of its pods and supervises their proxy.",
    version: AgentVersion.text, subcommands: [RunAgent.self, CleanNode.self, AskAgent.self],
    defaultSubcommand: RunAgent.self)
}

struct RunAgent: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "run", abstract: "Serve until SIGTERM (the default).")

  @Option(help: "This node's name.")
  var node: String
  @Option(help: "The control plane's discovery port, HOST:PORT.")
  var control: ControlEndpoint
  @Option(help: "The control plane's join port, HOST:PORT.")
  var join: ControlEndpoint
  @Option(help: "The file with this node's join token.")
  var joinTokenFile: String
  @Option(help: "The mesh's root certificate, PEM.")
  var caFile: String
  @Option(help: "Where certificates and the last good snapshot are kept.")
  var stateDir = "/var/lib/weft"
  @Option(help: "Where agent.sock and proxy.sock are made.")
  var runDir = "/run/weft"
  @Option(help: "A folder of JSON files, one for each pod of this node.")
  var podsDir: String?
  @Flag(help: "Find the pods of this node in the cgroup tree, as Kubernetes names them there.")
  var cgroupPods = false
  @Option(help: "How long a pod that the control plane hasn't named is held while it is away, in seconds.")
  var holdUnknown: UInt64 = 10
  @Option(help: "How long pods that no agent has seen are held after the last sign of life of one, in seconds.")
  var holdUnseen: UInt64 = 120
  @Option(help: "A namespace whose pods aren't held while they are unknown; may be repeated.")
  var unheldNamespace = ["kube-system", "weft-system"]
  @Option(help: "The kubelet's folder of pod logs, which tells an unknown pod's namespace; need not be there.")
  var podLogs = "/proc/1/root/var/log/pods"
  @Option(help: "A folder of this agent's own on a BPF file system; made if absent.")
  var bpffs = "/sys/fs/bpf/weft"
  @Option(help: "The cgroup v2 folder under which pods, agent and proxy live.")
  var cgroupRoot: String
  @Option(help: "The agent's cgroup, which it joins (default: where it is).")
  var cgroup: String?
  @Option(help: "The proxy's cgroup (default: proxy in the agent's).")
  var proxyCgroup: String?
  @Option(help: "The proxy's program (default: weft-proxy beside this one).")
  var proxy: String?
  @Option(help: "The user that the proxy runs as.")
  var proxyUid: UInt32 = 61337
  @Option(help: "The proxy's event loops (default: the cores of this machine).")
  var proxyWorkers: Int?
  @Option(help: "The compiled eBPF programs (default: beside this program, or bpf/build/weft.bpf.o).")
  var bpfObject: String?
  @Option(help: "An address of this node, from which its kubelet probes pods; may be repeated (default: all).")
  var nodeAddress: [String] = []
  @Option(help: "debug, info, warning or error.")
  var logLevel = "info"
  @Flag(help: "On SIGTERM leave the proxy and the capture to the next agent.")
  var keepOnExit = false
  @Flag(help: "Replace the proxy of an agent before also where its program is the same as this one's.")
  var replaceProxy = false

  @Option(
    help: "How long a replaced proxy may take to finish the connections it carries, in seconds; then they are reset.")
  var drainSeconds: UInt32 = 600

  private var entersPods: Bool { Privileges.effective.contains(.sysAdmin) }

  func validate() throws {
    guard DNSName.isSubdomain(node) else { throw ValidationError("--node \(node): is not a DNS name") }
    guard proxyUid > 0 else { throw ValidationError("--proxy-uid 0: the proxy never runs as root") }
    guard cgroupPods != (podsDir != nil) else {
      throw ValidationError("give either --cgroup-pods or --pods-dir")
    }
    guard holdUnknown <= 3600, holdUnseen <= 3600 else {
      throw ValidationError("--hold-unknown and --hold-unseen take up to 3600 seconds")
    }
    guard drainSeconds <= 86_400 else { throw ValidationError("--drain-seconds takes up to 86400 seconds") }
    if let proxyWorkers, !(1...256).contains(proxyWorkers) { throw ValidationError("--proxy-workers takes 1 to 256") }
    guard ["debug", "info", "warning", "error"].contains(logLevel) else {
      throw ValidationError("--log-level \(logLevel): debug, info, warning or error")
    }
    for text in nodeAddress where IPAddress(text) == nil {
      throw ValidationError("--node-address \(text): is not an IP address")
    }
  }

  func run() async throws {
    let level = Logger.Level(rawValue: logLevel) ?? .info
    LoggingSystem.bootstrap { _ in JSONLogHandler(program: "weft-agent", level: level) }
    let logger = Logger(label: "weft.agent")
    DescriptorLimit.raise()
    do {
      let source: any PodSource =
        podsDir.map { DirectoryPodSource(directory: $0) }
        ?? CgroupPodSource(root: cgroupRoot, entersPods: entersPods)
      let agent = try Agent(try prepare(), source: source, logger: logger)
      let work = Task { try await agent.run() }
      let signals = TerminationSignals { work.cancel() }
      try await work.value
      signals.stop()
    } catch {
      logger.critical("\(error)")
      throw ExitCode(1)
    }
  }

  /// Resolves what has defaults, makes the folders and joins the cgroup.
  private func prepare() throws -> AgentConfiguration {
    for directory in [stateDir, runDir] {
      do {
        try FileManager.default.createDirectory(
          atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      } catch {
        throw AgentError("the folder \(directory) can't be made: \(error.localizedDescription)")
      }
    }
    let (own, proxyOwn, former) = try joinCgroups()
    let here = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    var configuration = AgentConfiguration(
      node: node, control: control, join: join, joinTokenFile: joinTokenFile, trustFile: caFile,
      stateDirectory: stateDir, runDirectory: runDir, bpffsDirectory: bpffs, cgroupRoot: cgroupRoot, cgroup: own,
      proxyCgroup: proxyOwn, bpfObject: try findObject(beside: here),
      proxyProgram: proxy ?? here.appendingPathComponent("weft-proxy").path, proxyUID: proxyUid,
      proxyWorkers: proxyWorkers ?? ProcessInfo.processInfo.activeProcessorCount,
      nodeAddresses: nodeAddress.isEmpty ? NodeAddresses.own() : nodeAddress.compactMap { IPAddress($0) },
      logLevel: logLevel, keepsOnExit: keepOnExit)
    configuration.hold(
      unknown: holdUnknown, unheldNamespaces: unheldNamespace,
      entersPods: entersPods)
    configuration.holdUnseen = holdUnseen
    configuration.followsNodeAddresses = nodeAddress.isEmpty
    configuration.formerProxyCgroup = former
    configuration.drainSeconds = drainSeconds
    // A proxy that is elsewhere wouldn't end with this agent.
    configuration.replacesProxy = replaceProxy || former != nil
    configuration.podLogs = cgroupPods ? podLogs : ""
    return configuration
  }

  /// - Returns: the agent's cgroup, which it is in now, the proxy's, and the one where an agent that could go there has the
  ///   proxy.
  private func joinCgroups() throws -> (own: String, proxy: String, former: String?) {
    func make(_ folder: String) throws {
      do {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      } catch {
        throw AgentError("the cgroup \(folder) can't be made: \(error.localizedDescription)")
      }
    }
    guard let cgroup else {
      let own = try CgroupTree.find().own()
      let proxy = proxyCgroup ?? own + "/proxy"
      try make(proxy)
      return (own, proxy, nil)
    }
    try make(cgroup)
    let container = OwnCgroup.container(of: getpid(), under: cgroupRoot)
    let own = try OwnCgroup.join(cgroup, from: container)
    let isElsewhere = own != cgroup
    if isElsewhere {
      Logger(label: "weft.agent").warning(
        "the agent may not leave its container's cgroup: the proxy lives there too, and ends with this pod",
        metadata: ["cgroup": "\(own)", "repair": "add SYS_ADMIN, or run the container in the host's cgroup namespace"])
    }
    let proxy = proxyCgroup.flatMap { isElsewhere ? nil : $0 } ?? own + "/proxy"
    try make(proxy)
    let above = [own, proxy].map { URL(fileURLWithPath: $0).deletingLastPathComponent().path }
    if !isElsewhere, let container, above[0] == above[1], above[0] != cgroupRoot {
      for problem in ContainerResources.take(from: container, to: above[0]) {
        Logger(label: "weft.agent").warning("\(problem)")
      }
    }
    return (own, proxy, isElsewhere ? proxyCgroup ?? cgroup + "/proxy" : nil)
  }

  private func findObject(beside here: URL) throws -> String {
    if let bpfObject { return bpfObject }
    let name = "weft.bpf.o"
    let candidates = [
      ProcessInfo.processInfo.environment["WEFT_BPF_OBJECT"],
      here.appendingPathComponent(name).path,
      here.appendingPathComponent("../../bpf/build/\(name)").standardized.path,
      here.appendingPathComponent("../../../bpf/build/\(name)").standardized.path,
      "bpf/build/\(name)",
    ].compactMap { $0 }
    guard let found = candidates.first(where: { FileManager.default.fileExists(atPath: $0) }) else {
      throw AgentError(
        "no compiled eBPF programs at \(candidates.joined(separator: ", ")): run `make bpf`, or use --bpf-object"
      )
    }
    return found
  }
}

extension ControlEndpoint: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}
