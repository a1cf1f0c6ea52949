import MeshModel

/// What a change of objects changes of the mesh.
struct MeshDelta: Hashable, Sendable {
  /// Workloads that are new or differ, by id.
  var workloads: [String: Workload] = [:]
  var removedWorkloads: Set<String> = []
  var services: [ServiceKey: Service] = [:]
  var removedServices: Set<ServiceKey> = []
  /// By `Route.id`.
  var routes: [String: Route] = [:]
  var removedRoutes: Set<String> = []
  /// By `TrafficPolicy.id`.
  var policies: [String: TrafficPolicy] = [:]
  var removedPolicies: Set<String> = []
  /// nil: as before.
  var config: MeshConfig?

  var isEmpty: Bool {
    workloads.isEmpty && removedWorkloads.isEmpty && services.isEmpty && removedServices.isEmpty && routes.isEmpty
      && removedRoutes.isEmpty && policies.isEmpty && removedPolicies.isEmpty && config == nil
  }
}
