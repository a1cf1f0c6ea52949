import Discovery
import DiscoveryAPI
import Foundation
import Logging
import MeshModel

@testable import AgentCore

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// Resources as the control plane sends them.
enum Sample {
  static let node = "east"

  static func workload(
    _ name: String, meshed: Bool = true, node: String = node, addresses: [IPAddress] = [], probePorts: [UInt16] = [],
    podUID: String = "", account: String = "default", hostNetwork: Bool = false, mode: Workload.Mode = .node,
    memberships: [Workload.Membership] = []
  ) throws -> ReceivedResource {
    let workload = Workload(
      id: "shop/\(name)", namespace: "shop", name: name, serviceAccount: account, node: node, addresses: addresses,
      isMeshed: meshed, probePorts: probePorts, memberships: memberships, podUID: podUID, usesHostNetwork: hostNetwork, mode: mode)
    return try resource(Weft_Mesh_V1_Workload(workload))
  }

  static func service(_ name: String, _ address: String, _ ports: [Service.Port]) throws -> ReceivedResource {
    let service = Service(
      key: ServiceKey(namespace: "shop", name: name), addresses: IPAddress(address).map { [$0] } ?? [], ports: ports)
    return ReceivedResource(
      name: service.key.description, version: "1", value: try Weft_Mesh_V1_Service(service).serializedBytes())
  }

  static func resource(_ message: Weft_Mesh_V1_Workload) throws -> ReceivedResource {
    ReceivedResource(name: message.uid, version: "1", value: try message.serializedBytes())
  }

  static func update(_ workloads: [ReceivedResource], removed: [String] = []) -> DiscoveryUpdate {
    DiscoveryUpdate(typeURL: Weft_Mesh_V1_Workload.typeURL, resources: workloads, removed: removed)
  }
}
