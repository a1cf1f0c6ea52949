import Discovery
import DiscoveryAPI
import Foundation
import MeshModel
import SwiftProtobuf

/// The mesh as discovery has told it, decoded and checked.
struct MeshState: Sendable {
  private(set) var config = MeshConfig()
  private(set) var workloads: [String: Workload] = [:]
  private(set) var services: [ServiceKey: Service] = [:]
  /// Whether the workloads have been told at least once, by the control plane or from disk.
  private(set) var knowsWorkloads = false

  /// Takes what is valid of an update.
  /// - Returns: the change in the proxy's terms, and what was refused; of that the last good version stays.
  mutating func apply(_ update: DiscoveryUpdate) -> (Weft_Proxy_V1_MeshUpdate, [RejectedResource]) {
    var change = Weft_Proxy_V1_MeshUpdate()
    var rejected: [RejectedResource] = []
    for resource in update.resources {
      do {
        try apply(resource, update.typeURL, &change)
      } catch {
        rejected.append(RejectedResource(typeURL: update.typeURL, name: resource.name, reason: "\(error)"))
      }
    }
    for name in update.removed { remove(name, update.typeURL, &change) }
    if update.typeURL == Weft_Mesh_V1_Workload.typeURL { knowsWorkloads = true }
    return (change, rejected)
  }

  private mutating func apply(
    _ resource: ReceivedResource, _ typeURL: String, _ change: inout Weft_Proxy_V1_MeshUpdate
  ) throws {
    switch typeURL {
    case Weft_Mesh_V1_Workload.typeURL:
      let message = try Weft_Mesh_V1_Workload(serializedBytes: resource.value)
      let workload = try Workload(message)
      guard workload.id == resource.name else { throw Self.misnamed("uid", workload.id, resource.name) }
      workloads[workload.id] = workload
      change.workloads.append(message)
    case Weft_Mesh_V1_Service.typeURL:
      let message = try Weft_Mesh_V1_Service(serializedBytes: resource.value)
      let service = try Service(message)
      guard service.key.description == resource.name else {
        throw Self.misnamed("name", service.key.description, resource.name)
      }
      services[service.key] = service
      change.services.append(message)
    case Weft_Mesh_V1_MeshConfig.typeURL:
      let message = try Weft_Mesh_V1_MeshConfig(serializedBytes: resource.value)
      config = try MeshConfig(message)
      change.config = message
    default: throw AgentError("resources of the type \(typeURL) are not known here")
    }
  }

  private mutating func remove(_ name: String, _ typeURL: String, _ change: inout Weft_Proxy_V1_MeshUpdate) {
    if typeURL == Weft_Mesh_V1_Workload.typeURL {
      workloads[name] = nil
      change.removedWorkloads.append(name)
    } else if typeURL == Weft_Mesh_V1_Service.typeURL, let key = ServiceKey(name) {
      services[key] = nil
      change.removedServices.append(name)
    }
  }

  private static func misnamed(_ field: String, _ value: String, _ name: String) -> AgentError {
    AgentError("\(field) is \(value.prefix(253)), but the resource's name is \(name.prefix(253))")
  }

  /// Everything, for a proxy that knows nothing, in frames of a bounded size: the first replaces all, the others add.
  func completeUpdates() -> [Weft_Proxy_V1_MeshUpdate] {
    var updates: [Weft_Proxy_V1_MeshUpdate] = []
    var current = Weft_Proxy_V1_MeshUpdate()
    current.complete = true
    current.config = Weft_Mesh_V1_MeshConfig(config)
    func flushIfFull(_ count: Int) {
      guard count >= 5000 else { return }
      updates.append(current)
      current = Weft_Proxy_V1_MeshUpdate()
    }
    for service in services.values {
      current.services.append(Weft_Mesh_V1_Service(service))
      flushIfFull(current.services.count)
    }
    for workload in workloads.values {
      current.workloads.append(Weft_Mesh_V1_Workload(workload))
      flushIfFull(current.workloads.count)
    }
    updates.append(current)
    return updates
  }

  func identity(of workload: Workload) -> SPIFFEID? { workload.identity(in: config.trustDomain) }
}
