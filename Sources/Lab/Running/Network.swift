import Foundation

/// The lab's network: a bridge in the link namespace, a namespace per node on it, a namespace per pod behind its
/// node. Routed, not bridged, from the node on: each pod has a /32 and a /128. Nothing leads to the machine's network.
extension LabMaker {
  private static let everywhere: [(name: String, value: String)] = [
    ("net/ipv4/conf/all/rp_filter", "0"), ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv6/conf/all/accept_dad", "0"), ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/all/disable_ipv6", "0"), ("net/ipv6/conf/default/disable_ipv6", "0"),
    ("net/core/somaxconn", "4096"),
  ]
  private static let router: [(name: String, value: String)] = [
    ("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv4/conf/all/proxy_arp", "1"), ("net/ipv4/conf/default/proxy_arp", "1"),
    ("net/ipv6/conf/all/proxy_ndp", "1"), ("net/ipv6/conf/default/proxy_ndp", "1"),
    ("net/ipv4/conf/all/send_redirects", "0"), ("net/ipv4/conf/default/send_redirects", "0"),
  ]
  private static let pod: [(name: String, value: String)] = [
    ("net/ipv4/ip_local_port_range", "10240 65000"),
    // An application's outgoing connection must not take a port that the mesh listens on.
    ("net/ipv4/ip_local_reserved_ports", "15001,15006,15008,15010,15012,15020,15021,15053"),
    ("net/ipv4/ip_unprivileged_port_start", "0"),
  ]

  func makeLink() throws {
    try Tool.run("ip", ["netns", "add", layout.linkNamespace])
    try NetworkNamespace.set(Self.everywhere, in: layout.linkNamespace)
    var script = """
      link set lo up
      link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0
      addr add \(AddressPlan.linkV4)/16 dev br0

      """
    if state.hasIPv6 { script += "addr add \(AddressPlan.linkV6)/64 dev br0 nodad\n" }
    script += "link set br0 up\n"
    try Tool.run("ip", ["-n", layout.linkNamespace, "-batch", "-"], script: script)
  }

  /// Makes the namespaces of `nodes`, links them, and routes between them and all other nodes.
  func makeNetwork(of nodes: [LabState.Node]) throws {
    guard !nodes.isEmpty else { return }
    try Tool.run(
      "ip", ["-batch", "-"], script: nodes.map { "netns add \($0.networkNamespace)\n" }.joined())
    for node in nodes { try NetworkNamespace.set(Self.everywhere + Self.router, in: node.networkNamespace) }
    var link = ""
    for node in nodes {
      link += "link add n\(node.index) type veth peer name eth0 netns \(node.networkNamespace)\n"
      link += "link set n\(node.index) master br0 up\n"
    }
    try Tool.run("ip", ["-n", layout.linkNamespace, "-batch", "-"], script: link)
    var scripts: [String: String] = [:]
    for node in nodes { scripts[node.networkNamespace] = address(node) }
    let new = Set(nodes.map(\.name))
    for node in state.nodes {
      for other in state.nodes where other.name != node.name && (new.contains(node.name) || new.contains(other.name)) {
        scripts[node.networkNamespace, default: ""] += route(to: other)
      }
      if new.contains(node.name) { scripts[layout.linkNamespace, default: ""] += route(to: node) }
    }
    try run(scripts)
  }

  private func address(_ node: LabState.Node) -> String {
    var script = "link set lo up\naddr add \(node.addresses[0])/16 dev eth0\n"
    if state.hasIPv6 { script += "addr add \(node.addresses[1])/64 dev eth0 nodad\n" }
    script += "link set eth0 up\naddr add \(AddressPlan.gatewayV4(node: node.index))/32 dev lo\n"
    // Where the mesh doesn't answer, a lookup is refused at once instead of running into its timeout.
    return script + "addr add \(AddressPlan.dnsServer)/32 dev lo\n"
  }

  private func route(to node: LabState.Node) -> String {
    // A node of that index may have been here before.
    var script = "route replace \(AddressPlan.podRangeV4(node: node.index)) via \(node.addresses[0])\n"
    if state.hasIPv6 {
      script += "route replace \(AddressPlan.podRangeV6(node: node.index)) via \(node.addresses[1])\n"
    }
    return script
  }

  /// Makes the namespaces of `pods` behind their nodes.
  func makeNetwork(of pods: [LabState.Pod]) throws {
    guard !pods.isEmpty else { return }
    try Tool.run("ip", ["-batch", "-"], script: pods.map { "netns add \($0.networkNamespace)\n" }.joined())
    var nodeScripts: [String: String] = [:]
    var podScripts: [String: String] = [:]
    for pod in pods {
      try NetworkNamespace.set(Self.everywhere + Self.pod, in: pod.networkNamespace)
      let node = try state.node(pod.node)
      nodeScripts[node.networkNamespace, default: ""] += nodeSide(pod, node)
      podScripts[pod.networkNamespace] = podSide(pod, node)
    }
    try run(nodeScripts)
    try run(podScripts)
  }

  private func nodeSide(_ pod: LabState.Pod, _ node: LabState.Node) -> String {
    let device = "v\(pod.index)"
    var script = "link add \(device) type veth peer name eth0 netns \(pod.networkNamespace)\n"
    // The gateway in IPv6: the kernel answers for it only on the link that has it.
    if state.hasIPv6 { script += "addr add fe80::1/64 dev \(device) nodad\n" }
    script += "link set \(device) up\n"
    for (address, source) in zip(pod.addresses, node.addresses) {
      // A node speaks to its pods from its own address, as a kubelet does.
      script += "route add \(address) dev \(device) src \(source)\n"
    }
    return script
  }

  private func podSide(_ pod: LabState.Pod, _ node: LabState.Node) -> String {
    let gateway = AddressPlan.gatewayV4(node: node.index)
    var script = "link set lo up\naddr add \(pod.addresses[0])/32 dev eth0\n"
    if state.hasIPv6 { script += "addr add \(pod.addresses[1])/128 dev eth0 nodad\n" }
    script += "link set eth0 up\nroute add \(gateway) dev eth0 scope link\nroute add default via \(gateway) dev eth0\n"
    if state.hasIPv6 { script += "route add default via fe80::1 dev eth0\n" }
    return script
  }

  /// Runs a script in each namespace, some at a time.
  private func run(_ scripts: [String: String]) throws {
    var rest = scripts.sorted { $0.key < $1.key }[...]
    while !rest.isEmpty {
      let batch = rest.prefix(16)
      rest = rest.dropFirst(16)
      var tools: [Tool] = []
      var failure: (any Error)?
      for (namespace, script) in batch {
        do {
          tools.append(try Tool.start("ip", ["-n", namespace, "-batch", "-"], script: script))
        } catch {
          failure = failure ?? error
        }
      }
      // Every tool is awaited, also after a failure.
      for tool in tools {
        do { try tool.finish() } catch { failure = failure ?? error }
      }
      if let failure { throw failure }
      try Waiting.checkInterrupt()
    }
  }
}
