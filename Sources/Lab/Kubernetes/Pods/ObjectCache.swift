import KubernetesAPI
import Logging
import Synchronization

/// Copies of what the kubelet reads of the cluster, kept true by watches. Lookups never wait.
final class ObjectCache: Sendable {
  private struct State {
    var objects: [KubernetesResource: [PodName: KubernetesObject]] = [:]
  }

  enum Change: Sendable {
    case changed(KubernetesObject)
    case deleted(KubernetesObject)
  }

  private let state = Mutex(State())

  /// nil where the kind, or the object, isn't there.
  func object(_ resource: KubernetesResource, _ name: PodName) -> KubernetesObject? {
    state.withLock { $0.objects[resource]?[name] }
  }

  /// Whether a kind was read once.
  func knows(_ resource: KubernetesResource) -> Bool { state.withLock { $0.objects[resource] != nil } }

  func all(_ resource: KubernetesResource) -> [KubernetesObject] {
    state.withLock { Array(($0.objects[resource] ?? [:]).values) }
  }

  /// - Returns: what is new to the cache.
  func take(_ change: ReflectorState.Change, of resource: KubernetesResource) -> [Change] {
    state.withLock { state in
      var known = state.objects[resource] ?? [:]
      defer { state.objects[resource] = known }
      switch change {
      case .all(let objects):
        var rest = known
        var changes: [Change] = []
        for object in objects {
          let key = PodName(namespace: object.namespace, name: object.name)
          rest[key] = nil
          if known[key]?.resourceVersion != object.resourceVersion { changes.append(.changed(object)) }
          known[key] = object
        }
        for (key, object) in rest {
          known[key] = nil
          changes.append(.deleted(object))
        }
        return changes
      case .changed(let object):
        known[PodName(namespace: object.namespace, name: object.name)] = object
        return [.changed(object)]
      case .deleted(let object):
        known[PodName(namespace: object.namespace, name: object.name)] = nil
        return [.deleted(object)]
      }
    }
  }

  func forget(_ resource: KubernetesResource) { state.withLock { $0.objects[resource] = nil } }
}

extension KubernetesResource {
  static let pods = Self(version: "v1", plural: "pods")
  static let nodes = Self(version: "v1", plural: "nodes")
  static let services = Self(version: "v1", plural: "services")
  static let secrets = Self(version: "v1", plural: "secrets")
  static let configMaps = Self(version: "v1", plural: "configmaps")
  static let serviceAccounts = Self(version: "v1", plural: "serviceaccounts")
  static let events = Self(version: "v1", plural: "events")
  static let leases = Self(group: "coordination.k8s.io", version: "v1", plural: "leases")
  static let endpointSlices = Self(group: "discovery.k8s.io", version: "v1", plural: "endpointslices")
  static let endpointSlicesBeta = Self(group: "discovery.k8s.io", version: "v1beta1", plural: "endpointslices")
}
