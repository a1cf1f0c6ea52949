import Foundation
import KubernetesAPI
import Logging

/// Registers a node and keeps saying that it is there: its status, and its Lease.
struct NodeKeeper: Sendable {
  let node: LabState.Node
  let client: KubernetesClient
  let logger: Logger

  private static let leaseNamespace = "kube-node-lease"
  private static let leaseSeconds = 40
  private static let renewal = Duration.seconds(10)
  /// In renewals: the status is said anew so often.
  private static let statusEvery = 6

  func run() async {
    var round = 0
    while !Task.isCancelled {
      do throws(KubernetesError) {
        if round % Self.statusEvery == 0 { try await writeStatus() }
        try await renewLease()
        round += 1
        try? await Task.sleep(for: Self.renewal)
      } catch {
        logger.warning("node \(node.name): \(error)")
        round = 0
        try? await Task.sleep(for: .milliseconds(500))
      }
    }
  }

  private func writeStatus() async throws(KubernetesError) {
    let status = NodeStatus.status(node, now: KubeletContext.now)
    do throws(KubernetesError) {
      try await client.merge(
        ["status": status], into: .nodes, name: node.name, subresource: "status", manager: "weft-lab")
    } catch {
      guard case .notFound = error else { throw error }
      try await client.create(NodeStatus.object(node), as: .nodes)
      try await client.merge(
        ["status": status], into: .nodes, name: node.name, subresource: "status", manager: "weft-lab")
    }
  }

  private func renewLease() async throws(KubernetesError) {
    let time = NodeStatus.microTime(Date())
    let spec: JSONNode = [
      "holderIdentity": .text(node.name), "leaseDurationSeconds": .number(String(Self.leaseSeconds)),
      "renewTime": .text(time),
    ]
    do throws(KubernetesError) {
      try await client.merge(
        ["spec": spec], into: .leases, namespace: Self.leaseNamespace, name: node.name, manager: "weft-lab")
    } catch {
      guard case .notFound = error else { throw error }
      try await client.create(
        [
          "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
          "metadata": ["name": .text(node.name), "namespace": .text(Self.leaseNamespace)], "spec": spec,
        ], as: .leases, namespace: Self.leaseNamespace)
    }
  }
}

/// What a node says of itself. Pure.
enum NodeStatus {
  static let maximumPods = 250

  static func status(_ node: LabState.Node, now: Int64) -> JSONNode {
    let cores = ProcessInfo.processInfo.activeProcessorCount
    // Simulated nodes share the machine: each has it all, and more cores than there are, so that requests always fit.
    let resources: JSONNode = [
      "cpu": .text(String(max(cores, 16))), "memory": .text("\(ProcessInfo.processInfo.physicalMemory >> 10)Ki"),
      "pods": .text(String(maximumPods)), "ephemeral-storage": "10Gi",
    ]
    let conditions: [JSONNode] = [
      condition("Ready", true, "KubeletReady", now),
      condition("MemoryPressure", false, "KubeletHasSufficientMemory", now),
      condition("DiskPressure", false, "KubeletHasNoDiskPressure", now),
      condition("PIDPressure", false, "KubeletHasSufficientPID", now),
    ]
    let addresses: [JSONNode] =
      node.addresses.map { ["type": "InternalIP", "address": .text($0)] }
      + [["type": "Hostname", "address": .text(node.name)]]
    return [
      "capacity": resources, "allocatable": resources, "conditions": .array(conditions), "addresses": .array(addresses),
      "daemonEndpoints": ["kubeletEndpoint": ["Port": .number(String(ClusterPlan.kubeletPort))]],
      "nodeInfo": nodeInfo(node),
    ]
  }

  static func object(_ node: LabState.Node) -> JSONNode {
    let labels = NodeLabels.own(node.name).map { JSONNode.Member(key: $0.0, value: .text($0.1)) }
    let range = AddressPlan.podRangeV4(node: node.index)
    return [
      "apiVersion": "v1", "kind": "Node", "metadata": ["name": .text(node.name), "labels": .object(labels)],
      "spec": ["podCIDR": .text(range), "podCIDRs": [.text(range)]],
    ]
  }

  private static func condition(_ type: String, _ isTrue: Bool, _ reason: String, _ now: Int64) -> JSONNode {
    [
      "type": .text(type), "status": isTrue ? "True" : "False", "reason": .text(reason), "message": "weft-lab",
      "lastHeartbeatTime": .text(PodStatus.time(now)), "lastTransitionTime": .text(PodStatus.time(now)),
    ]
  }

  private static func nodeInfo(_ node: LabState.Node) -> JSONNode {
    var names = utsname()
    uname(&names)
    let kernel = withUnsafeBytes(of: names.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    let engine = node.runtime?.engine ?? .containerd
    let architecture = NodeLabels.own(node.name).first { $0.0 == "kubernetes.io/arch" }?.1 ?? ""
    return [
      "machineID": .text(node.name), "systemUUID": .text(node.name), "bootID": .text(node.name),
      "kernelVersion": .text(kernel), "osImage": "weft-lab", "operatingSystem": "linux",
      "architecture": .text(architecture), "containerRuntimeVersion": .text("\(engine.rawValue)://weft-lab"),
      "kubeletVersion": "v1.20.2-weft-lab", "kubeProxyVersion": "v1.20.2-weft-lab",
    ]
  }

  /// RFC 3339 with microseconds: a Lease's times.
  static func microTime(_ date: Date) -> String {
    let micros = Int64(date.timeIntervalSince1970 * 1_000_000)
    let fraction = String(micros % 1_000_000)
    return PodStatus.time(micros / 1000).dropLast() + "." + String(repeating: "0", count: 6 - fraction.count) + fraction
      + "Z"
  }
}
