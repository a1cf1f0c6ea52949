import MeshModel

/// What Weft keeps of an object.
enum MeshObject: Hashable, Sendable {
  case pod(PodObject)
  case service(ServiceObject)
  case namespace(NamespaceObject)
  case endpointSlice(EndpointSliceObject)
  case peerAuthentication(PeerAuthenticationObject)
  case node(NodeObject)
  case route(RouteObject)
  case referenceGrant(ReferenceGrantObject)
  case trafficPolicy(TrafficPolicyObject)
  /// ServiceAccount: known by name, and nothing follows from it yet.
  case named
}

/// Whether an object asks for the mesh: the label `weft.dev/mesh`.
enum Enrolment: Hashable, Sendable {
  case enabled
  case disabled
  case unsaid
}

struct PodObject: Hashable, Sendable {
  var labels: [String: String] = [:]
  var serviceAccount = "default"
  /// Empty until it is scheduled.
  var node = ""
  var usesHostNetwork = false
  /// At most one per family, in the order of the status.
  var addresses: [IPAddress] = []
  /// Its phase is Succeeded or Failed.
  var hasEnded = false
  var isReady = true
  /// It is being deleted.
  var isDraining = false
  /// Of the annotation `weft.dev/weight`.
  var weight: UInt32 = 1
  var enrolment = Enrolment.unsaid
  var failMode = Workload.FailMode.closed
  var ports: [NamedPort] = []
  /// Sorted.
  var probePorts: [UInt16] = []
  var hostname = ""
  var subdomain = ""
  /// As its node's cgroup tree names it; empty where the object has no UID.
  var uid = ""
  var mode = Workload.Mode.node

  struct NamedPort: Hashable, Sendable {
    var name: String
    var port: UInt16
    var transport: Service.Transport
  }
}

struct ServiceObject: Hashable, Sendable {
  /// Empty where endpoints are named by hand.
  var selector: [String: String] = [:]
  var addresses: [IPAddress] = []
  /// A name outside the cluster instead of endpoints.
  var isExternalName = false
  var ports: [Port] = []
  var publishNotReadyAddresses = false
  /// `sessionAffinity: ClientIP`
  var hasClientAffinity = false
  /// Of the annotation `weft.dev/protocol`.
  var protocols = DeclaredProtocols()

  /// Whether the other is the same to routes and policies.
  func concernsRoutes(as other: ServiceObject?) -> Bool {
    ports == other?.ports && isExternalName == other?.isExternalName && hasClientAffinity == other?.hasClientAffinity
  }

  struct Port: Hashable, Sendable {
    var port: UInt16
    var name = ""
    var appProtocol = ""
    var transport = Service.Transport.tcp
    var target: PortReference
  }
}

struct NamespaceObject: Hashable, Sendable {
  var enrolment = Enrolment.unsaid
  /// Of the annotation `weft.dev/protocol`; empty if none.
  var appProtocol = ""
}

/// What a Service's annotation says of its ports.
struct DeclaredProtocols: Hashable, Sendable {
  /// Of the ports that `byPort` doesn't name; empty if not said.
  var general = ""
  var byPort: [UInt16: String] = [:]

  subscript(port: UInt16) -> String { byPort[port] ?? general }
}

struct EndpointSliceObject: Hashable, Sendable {
  /// Of the label `kubernetes.io/service-name`; empty if none: then nothing follows from the slice.
  var service = ""
  var endpoints: [Endpoint] = []
  var ports: [Port] = []

  struct Endpoint: Hashable, Sendable {
    var address: IPAddress
    var isReady = true
    var hostname = ""
    var node = ""
    var zone = ""
    /// It goes: no new connections, whatever `isReady` says.
    var isDraining = false
  }

  struct Port: Hashable, Sendable {
    var name = ""
    var port: UInt16
    var transport = Service.Transport.tcp
  }
}

struct PeerAuthenticationObject: Hashable, Sendable {
  var mutualTLS: MeshConfig.MutualTLS
}
