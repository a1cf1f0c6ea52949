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
  /// By `Route.id`.
  private(set) var routes: [String: Route] = [:]
  /// By `TrafficPolicy.id`.
  private(set) var policies: [String: TrafficPolicy] = [:]
  /// The node whose pods are looked up by their UID.
  private let node: String
  /// The workloads of this node's pods, by their Pod's UID.
  private var idsByPodUID: [String: String] = [:]
  /// How many meshed workloads each namespace has.
  private var meshedCounts: [String: Int] = [:]
  /// The types of which something has been told at least once, by the control plane or from disk.
  private var told: Set<String> = []

  init(node: String = "") { self.node = node }

  /// The workload that is the Pod of this UID on this node.
  func workload(podUID: String) -> Workload? { idsByPodUID[podUID].flatMap { workloads[$0] } }
  /// The workloads of this node whose Pods are known by UID.
  var localPods: some Sequence<Workload> { idsByPodUID.values.lazy.compactMap { workloads[$0] } }
  func isMeshed(namespace: String) -> Bool { meshedCounts[namespace] != nil }

  private mutating func set(_ new: Workload?, _ id: String) {
    if let old = workloads[id] {
      if !old.podUID.isEmpty, idsByPodUID[old.podUID] == id { idsByPodUID[old.podUID] = nil }
      if old.isMeshed { count(old.namespace, -1) }
    }
    workloads[id] = new
    guard let new else { return }
    // The first that is told of has it: nobody takes another's pod over.
    if !new.podUID.isEmpty, new.node == node, idsByPodUID[new.podUID] == nil { idsByPodUID[new.podUID] = id }
    if new.isMeshed { count(new.namespace, 1) }
  }

  private mutating func count(_ namespace: String, _ change: Int) {
    let sum = meshedCounts[namespace, default: 0] + change
    meshedCounts[namespace] = sum > 0 ? sum : nil
  }

  /// What the mesh consists of, in the order in which it's restored.
  static let typeURLs = [
    Weft_Mesh_V1_MeshConfig.typeURL, Weft_Mesh_V1_TrafficPolicy.typeURL, Weft_Mesh_V1_Route.typeURL,
    Weft_Mesh_V1_Service.typeURL, Weft_Mesh_V1_Workload.typeURL,
  ]

  /// Whether every type has been told: before that nothing may be concluded from what isn't there.
  var knowsEveryType: Bool { told.isSuperset(of: Self.typeURLs) }
  var knowsWorkloads: Bool { told.contains(Weft_Mesh_V1_Workload.typeURL) }

  /// Takes what is valid of an update.
  /// - Returns: the change in the proxy's terms, and what was refused; of that the last good version stays.
  mutating func apply(_ update: DiscoveryUpdate) -> (Weft_Proxy_V1_MeshUpdate, [RejectedResource]) {
    var none: MeshUndo?
    return apply(update, noting: &none)
  }

  /// The same, so that `revert` can take it back.
  /// - Parameter undo: nil: it won't be.
  mutating func apply(
    _ update: DiscoveryUpdate, noting undo: inout MeshUndo?
  ) -> (Weft_Proxy_V1_MeshUpdate, [RejectedResource]) {
    var change = Weft_Proxy_V1_MeshUpdate()
    var rejected: [RejectedResource] = []
    for resource in update.resources {
      do {
        try apply(resource, update.typeURL, &change, &undo)
      } catch {
        rejected.append(RejectedResource(typeURL: update.typeURL, name: resource.name, reason: "\(error)"))
      }
    }
    for name in update.removed { remove(name, update.typeURL, &change, &undo) }
    told.insert(update.typeURL)
    return (change, rejected)
  }

  /// Brings back what was before the update; that its type was told of stays.
  mutating func revert(_ undo: MeshUndo) {
    if let before = undo.config { config = before }
    undo.workloads.revert { set($1, $0) }
    undo.services.revert { services[$0] = $1 }
    undo.routes.revert { routes[$0] = $1 }
    undo.policies.revert { policies[$0] = $1 }
  }

  private mutating func apply(
    _ resource: ReceivedResource, _ typeURL: String, _ change: inout Weft_Proxy_V1_MeshUpdate,
    _ undo: inout MeshUndo?
  ) throws {
    switch typeURL {
    case Weft_Mesh_V1_Workload.typeURL:
      let message = try Weft_Mesh_V1_Workload(serializedBytes: resource.value)
      let workload = try Workload(message)
      guard workload.id == resource.name else { throw Self.misnamed("uid", workload.id, resource.name) }
      undo?.workloads.note(workload.id, before: workloads[workload.id])
      set(workload, workload.id)
      change.workloads.append(message)
    case Weft_Mesh_V1_Service.typeURL:
      let message = try Weft_Mesh_V1_Service(serializedBytes: resource.value)
      let service = try Service(message)
      guard service.key.description == resource.name else {
        throw Self.misnamed("name", service.key.description, resource.name)
      }
      let before = services.updateValue(service, forKey: service.key)
      undo?.services.note(service.key, before: before)
      change.services.append(message)
    case Weft_Mesh_V1_Route.typeURL:
      let message = try Weft_Mesh_V1_Route(serializedBytes: resource.value)
      let route = try Route(message)
      guard route.id == resource.name else { throw Self.misnamed("name", route.id, resource.name) }
      let before = routes.updateValue(route, forKey: route.id)
      undo?.routes.note(route.id, before: before)
      change.routes.append(message)
    case Weft_Mesh_V1_TrafficPolicy.typeURL:
      let message = try Weft_Mesh_V1_TrafficPolicy(serializedBytes: resource.value)
      let policy = try TrafficPolicy(message)
      guard policy.id == resource.name else { throw Self.misnamed("name", policy.id, resource.name) }
      let before = policies.updateValue(policy, forKey: policy.id)
      undo?.policies.note(policy.id, before: before)
      change.policies.append(message)
    case Weft_Mesh_V1_MeshConfig.typeURL:
      let message = try Weft_Mesh_V1_MeshConfig(serializedBytes: resource.value)
      let new = try MeshConfig(message)
      if undo != nil, undo?.config == nil { undo?.config = config }
      config = new
      change.config = message
    default: throw AgentError("resources of the type \(typeURL) are not known here")
    }
  }

  private mutating func remove(
    _ name: String, _ typeURL: String, _ change: inout Weft_Proxy_V1_MeshUpdate, _ undo: inout MeshUndo?
  ) {
    switch typeURL {
    case Weft_Mesh_V1_Workload.typeURL:
      if let before = workloads[name] { undo?.workloads.note(name, before: before) }
      set(nil, name)
      change.removedWorkloads.append(name)
    case Weft_Mesh_V1_Service.typeURL:
      guard let key = ServiceKey(name) else { return }
      if let before = services.removeValue(forKey: key) { undo?.services.note(key, before: before) }
      change.removedServices.append(name)
    case Weft_Mesh_V1_Route.typeURL:
      if let before = routes.removeValue(forKey: name) { undo?.routes.note(name, before: before) }
      change.removedRoutes.append(name)
    case Weft_Mesh_V1_TrafficPolicy.typeURL:
      if let before = policies.removeValue(forKey: name) { undo?.policies.note(name, before: before) }
      change.removedPolicies.append(name)
    default: break
    }
  }

  private static func misnamed(_ field: String, _ value: String, _ name: String) -> AgentError {
    AgentError("\(field) is \(value.prefix(253)), but the resource's name is \(name.prefix(253))")
  }

  private static let resourcesPerFrame = 5000

  /// Everything, in frames of a bounded size that the proxy takes as one change.
  /// - Parameter replacing: what isn't among it is gone. Else it is added to what the proxy knows.
  /// - Parameter bytesPerFrame: well below what a frame may hold (`ProxyLink.frameBound`): one resource has up to 1 MiB.
  func allUpdates(replacing: Bool, bytesPerFrame: Int = 16 << 20) -> [Weft_Proxy_V1_MeshUpdate] {
    var updates: [Weft_Proxy_V1_MeshUpdate] = []
    var current = Weft_Proxy_V1_MeshUpdate()
    var (count, bytes) = (0, 0)
    current.complete = replacing
    if told.contains(Weft_Mesh_V1_MeshConfig.typeURL) { current.config = Weft_Mesh_V1_MeshConfig(config) }
    func makeRoom(for message: some Message) {
      let size = (try? message.serializedBytes() as [UInt8])?.count ?? 0
      if count == Self.resourcesPerFrame || (count > 0 && bytes + size > bytesPerFrame) {
        current.more = true
        updates.append(current)
        current = Weft_Proxy_V1_MeshUpdate()
        (count, bytes) = (0, 0)
      }
      count += 1
      bytes += size
    }
    for policy in policies.values {
      let message = Weft_Mesh_V1_TrafficPolicy(policy)
      makeRoom(for: message)
      current.policies.append(message)
    }
    for route in routes.values {
      let message = Weft_Mesh_V1_Route(route)
      makeRoom(for: message)
      current.routes.append(message)
    }
    for service in services.values {
      let message = Weft_Mesh_V1_Service(service)
      makeRoom(for: message)
      current.services.append(message)
    }
    for workload in workloads.values {
      let message = Weft_Mesh_V1_Workload(workload)
      makeRoom(for: message)
      current.workloads.append(message)
    }
    updates.append(current)
    return updates
  }

  func identity(of workload: Workload) -> SPIFFEID? { workload.identity(in: config.trustDomain) }
}
