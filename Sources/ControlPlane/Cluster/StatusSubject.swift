import Discovery
import DiscoveryAPI
import KubernetesAPI

/// What is kept of an object that gets a status: what stands there now, and what a write of it needs.
struct StatusSubject: Hashable, Sendable {
  var resource: KubernetesResource
  var generation: Int
  var resourceVersion: String
  /// As written.
  var parentRefs: [JSONNode]
  /// All of it, others' parts too; null: none.
  var status: JSONNode

  /// nil: not of a kind that gets one.
  init?(_ object: JSONNode, _ kind: Kind) {
    guard kind.getsStatus, let resource = kind.resource(of: object) else { return nil }
    self.resource = resource
    let metadata = object["metadata"]
    generation = metadata?["generation"]?.integer ?? 0
    resourceVersion = metadata?["resourceVersion"]?.text ?? ""
    parentRefs = kind.route == nil ? [] : object["spec"]?["parentRefs"]?.elements ?? []
    status = object["status"] ?? .null
  }
}

extension Kind {
  /// Kinds of CustomResourceDefinitions that Weft answers for.
  var getsStatus: Bool { route != nil || self == .trafficPolicy || self == .peerAuthentication }

  /// In the version in which the server has told the object.
  fileprivate func resource(of object: JSONNode) -> KubernetesResource? {
    let version = object["apiVersion"]?.text
    return resources.first { "\($0.group)/\($0.version)" == version } ?? resources.first
  }

  /// The types of the resources that come of kinds with a status.
  static let statusTypes = [
    Weft_Mesh_V1_Route.typeURL, Weft_Mesh_V1_TrafficPolicy.typeURL, Weft_Mesh_V1_MeshConfig.typeURL,
  ]
}

extension ObjectKey {
  /// What is distributed of it; nil: nothing of its own.
  var resourceKey: ResourceKey? {
    switch kind {
    case .httpRoute, .grpcRoute, .tcpRoute, .tlsRoute:
      ResourceKey(typeURL: Weft_Mesh_V1_Route.typeURL, name: routeID)
    case .trafficPolicy: ResourceKey(typeURL: Weft_Mesh_V1_TrafficPolicy.typeURL, name: name.description)
    case .peerAuthentication:
      ResourceKey(typeURL: Weft_Mesh_V1_MeshConfig.typeURL, name: Weft_Mesh_V1_MeshConfig.resourceName)
    default: nil
    }
  }
}

/// An object that gets a status, and all that the status says.
struct StatusInput: Hashable, Sendable {
  var key: ObjectKey
  var subject: StatusSubject
  /// Why it is refused, in words; empty: it isn't.
  var refusal = ""
  /// What of it isn't applied although it's accepted; empty: nothing.
  var omission = ""
  /// How it fares with what it refers to.
  var parents: [ParentStatus] = []
}
