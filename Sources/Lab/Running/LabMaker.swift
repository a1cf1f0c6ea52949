import Foundation

/// A lab at work: its places, its record and the objects that it is made from. Held under the lab's lock.
struct LabMaker {
  let layout: Layout
  let progress: Progress
  var state: LabState
  var input: LabInput

  func save() throws { try state.save(layout) }

  /// The command-line tools that making a lab needs.
  static func checkMachine() throws {
    guard geteuid() == 0 else { throw LabError("the lab makes namespaces and cgroups and needs root; use sudo") }
    guard Commands.find("ip", searchPath: Commands.searchPath, directory: "/") != nil else {
      throw LabError("ip isn't on this machine; install iproute2")
    }
  }
}

extension LabMaker {
  /// Adds nodes and pods of `input` that the record doesn't have yet, with names and addresses; makes nothing.
  mutating func plan() {
    for name in input.nodes where !state.nodes.contains(where: { $0.name == name }) {
      let index = Self.free(among: state.nodes.map(\.index))
      var addresses = [AddressPlan.nodeV4(index).description]
      if state.hasIPv6 { addresses.append(AddressPlan.nodeV6(index).description) }
      state.nodes.append(
        LabState.Node(
          name: name, index: index, networkNamespace: layout.nodeNamespace(name), addresses: addresses,
          cgroup: layout.nodeCgroup(name), bpf: layout.nodeBPF(name)))
    }
    for pod in input.pods.values.sorted(by: { $0.manifest.key < $1.manifest.key }) {
      let id = PodName(pod.manifest.key)
      guard !state.pods.contains(where: { $0.id == id }) else { continue }
      // The input was checked: the node is there.
      guard let node = state.nodes.first(where: { $0.name == pod.nodeName }) else { continue }
      let index = Self.free(among: state.pods.map(\.index))
      let slot = Self.free(among: state.pods.filter { $0.node == node.name }.map(\.slot))
      var addresses = [AddressPlan.podV4(node: node.index, slot: slot).description]
      if state.hasIPv6 { addresses.append(AddressPlan.podV6(node: node.index, slot: slot).description) }
      state.pods.append(
        LabState.Pod(
          id: id, node: node.name, index: index, slot: slot, networkNamespace: layout.podNamespace(index),
          addresses: addresses, cgroup: layout.podCgroup(id, node: node.name), isMeshed: input.isMeshed(pod),
          hostname: pod.hostname))
    }
  }

  private static func free(among used: [Int]) -> Int {
    let used = Set(used)
    return (0...used.count).first { !used.contains($0) } ?? used.count
  }
}

extension PodName {
  init(_ key: Manifest.Key) {
    self.init(namespace: key.namespace, name: key.name)
  }
}
