import Foundation
import KubernetesAPI
import Logging

/// Carries Services into the nodes: nftables of every node's and the link's namespace, and the records of each node's
/// DNS server.
actor ServiceKeeper {
  private let layout: Layout
  private let state: LabState
  private let cache: ObjectCache
  private let logger: Logger
  private var applied: [ServiceView]?
  private var servers: [String: ProcessRecord] = [:]
  private var isDirty = false
  private var isWorking = false

  init(layout: Layout, state: LabState, cache: ObjectCache, logger: Logger) {
    self.layout = layout
    self.state = state
    self.cache = cache
    self.logger = logger
  }

  /// Something of Services or EndpointSlices has changed; what comes meanwhile is taken together.
  func changed() async {
    isDirty = true
    guard !isWorking else { return }
    isWorking = true
    defer { isWorking = false }
    while isDirty {
      isDirty = false
      let slices = cache.all(.endpointSlices) + cache.all(.endpointSlicesBeta)
      let views = ServiceView.views(services: cache.all(.services), slices: slices)
      if views == applied { continue }
      do {
        try await apply(views)
        applied = views
      } catch {
        logger.error("the Services can't be carried into the nodes: \(error)")
        try? await Task.sleep(for: .seconds(1))
        isDirty = true
      }
    }
  }

  private func apply(_ views: [ServiceView]) async throws {
    let layout = layout
    let namespaces = state.nodes.map(\.networkNamespace) + [layout.linkNamespace]
    let rules = ServiceRules.script(views)
    let hosts = DNSRecords.hosts(views)
    let nodes = state.nodes
    let running = servers
    servers = try await Blocking.run {
      for namespace in namespaces {
        try Tool.run(
          "nft", ["-f", "-"], script: rules, networkNamespace: layout.namespacePath(namespace))
      }
      var servers = running
      for node in nodes {
        // dnsmasq reads the file as a user of its own.
        try Files.writeAtomically(hosts, to: layout.nodeHosts(node.name))
        if let server = servers[node.name], server.isRunning {
          server.signal(SIGHUP)
        } else {
          servers[node.name] = try Self.startServer(node, layout)
        }
      }
      return servers
    }
  }

  /// The cluster's DNS at its address, which every node has by itself: also what runs in the node's network is answered.
  private static func startServer(_ node: LabState.Node, _ layout: Layout) throws -> ProcessRecord? {
    guard let path = Commands.find("dnsmasq", searchPath: Commands.searchPath, directory: "/") else {
      throw LabError("dnsmasq isn't on this machine; install dnsmasq-base")
    }
    var launch = Launch(
      path: path,
      arguments: [
        "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file",
        "--addn-hosts=\(layout.nodeHosts(node.name))", "--listen-address=\(AddressPlan.dnsServer)", "--bind-interfaces",
        "--local=/\(ClusterPlan.domain)/", "--address=/#/", "--local-ttl=5", "--cache-size=0", "--log-facility=-",
      ], environment: ["PATH=\(Commands.searchPath)"])
    launch.networkNamespace = layout.namespacePath(node.networkNamespace)
    launch.cgroup = layout.nodeSystemCgroup(node.name)
    let log = open(layout.clusterLog("dns-\(node.name)"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    defer { if log >= 0 { close(log) } }
    launch.standardOutput = log
    launch.standardError = log
    let pid = try launch.spawn()
    let record = ProcessRecord(pid: pid)
    ChildExit.watch(pid) { _ in }
    return record
  }
}
