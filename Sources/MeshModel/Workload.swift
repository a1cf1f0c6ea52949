/// A pod (or an address named by hand in an EndpointSlice) as the data plane sees it.
public struct Workload: Hashable, Sendable, Identifiable {
  /// Unique in the mesh: `namespace/name` of a pod. 1 to 253 bytes.
  public var id: String
  public var namespace: String
  public var name: String
  public var serviceAccount: String
  /// The node that it is scheduled on; empty for an address outside the cluster.
  public var node: String
  /// At most one address per family; none while the pod is bound to its node but not known to have been started.
  public var addresses: [IPAddress]
  /// Whether the mesh captures this workload, and hence whether peers reach it by HBONE.
  public var isMeshed: Bool
  /// Unready workloads get no new connections through a Service.
  public var isReady: Bool
  public var failMode: FailMode
  /// Ports that the kubelet probes from the node's own address, in plaintext also under STRICT.
  public var probePorts: [UInt16]
  /// The name before the Service's in DNS (`hostname.subdomain.namespace.svc…`); empty if none.
  public var hostname: String
  /// The Services that select this workload.
  public var memberships: [Membership]
  /// Of its node; empty where unknown.
  public var zone: String
  public var region: String
  /// It ends: its connections go on, and it gets no new ones.
  public var isDraining: Bool
  /// Its share of a Service's requests among the others'; 0 to 1,000,000.
  public var weight: UInt32
  /// metadata.uid of its Pod, as the node's cgroup tree names it; empty outside Kubernetes.
  public var podUID: String
  /// It lives in its node's network namespace and is never captured.
  public var usesHostNetwork: Bool
  public var mode: Mode

  /// Who carries a meshed workload's connections.
  public enum Mode: UInt8, Hashable, Sendable {
    /// The proxy of its node, which opens sockets in the pod's namespace.
    case node
    /// The proxy of its node, with sockets that the pod's stub opens.
    case stubHandoff
    /// The pod's stub alone.
    case stubTunnel
  }

  public struct Membership: Hashable, Sendable {
    public var service: ServiceKey
    /// The workload's port for each of the Service's ports.
    public var ports: [PortMapping]

    public init(service: ServiceKey, ports: [PortMapping]) {
      self.service = service
      self.ports = ports
    }
  }

  public struct PortMapping: Hashable, Sendable {
    public var servicePort: UInt16
    public var targetPort: UInt16

    public init(servicePort: UInt16, targetPort: UInt16) {
      self.servicePort = servicePort
      self.targetPort = targetPort
    }
  }

  /// What happens to connections while no proxy serves the workload.
  public enum FailMode: UInt8, Hashable, Sendable {
    /// No proxy, no connection.
    case closed
    /// Connections pass unredirected once the node's heartbeat is stale.
    case open
  }

  public init(
    id: String, namespace: String, name: String, serviceAccount: String, node: String, addresses: [IPAddress],
    isMeshed: Bool, isReady: Bool = true, failMode: FailMode = .closed, probePorts: [UInt16] = [],
    hostname: String = "", memberships: [Membership] = [], zone: String = "", region: String = "",
    isDraining: Bool = false, weight: UInt32 = 1, podUID: String = "", usesHostNetwork: Bool = false,
    mode: Mode = .node
  ) {
    self.id = id
    self.namespace = namespace
    self.name = name
    self.serviceAccount = serviceAccount
    self.node = node
    self.addresses = addresses
    self.isMeshed = isMeshed
    self.isReady = isReady
    self.failMode = failMode
    self.probePorts = probePorts
    self.hostname = hostname
    self.memberships = memberships
    self.zone = zone
    self.region = region
    self.isDraining = isDraining
    self.weight = weight
    self.podUID = podUID
    self.usesHostNetwork = usesHostNetwork
    self.mode = mode
  }

  public func identity(in trustDomain: TrustDomain) -> SPIFFEID? {
    SPIFFEID(trustDomain: trustDomain, namespace: namespace, serviceAccount: serviceAccount)
  }
}
