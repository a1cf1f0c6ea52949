import KubernetesAPI
import MeshModel

/// What a Service leads to, as the API server's Services and EndpointSlices say. Pure.
struct ServiceView: Sendable, Equatable {
  struct Endpoint: Sendable, Hashable, Comparable {
    var address: String
    var hostname: String

    static func < (left: Self, right: Self) -> Bool { left.address < right.address }
  }

  struct Port: Sendable, Equatable {
    var name: String
    /// `tcp` or `udp`.
    var transport: String
    var number: Int
    /// Of the node; 0: none.
    var nodePort: Int
    /// The target's port beside each address; ready ones only.
    var targets: [Target]
  }

  struct Target: Sendable, Hashable, Comparable {
    var address: String
    var port: Int

    static func < (left: Self, right: Self) -> Bool { (left.address, left.port) < (right.address, right.port) }
  }

  var id: PodName
  /// Empty: headless.
  var address: String
  var ports: [Port]
  /// Of DNS for a headless Service.
  var endpoints: [Endpoint]

  /// - Parameter slices: those of every Service.
  static func views(services: [KubernetesObject], slices: [KubernetesObject]) -> [ServiceView] {
    var byService: [PodName: [KubernetesObject]] = [:]
    for slice in slices {
      guard let name = slice.content["metadata"]?["labels"]?["kubernetes.io/service-name"]?.text,
        slice.content["addressType"]?.text == "IPv4"
      else { continue }
      byService[PodName(namespace: slice.namespace, name: name), default: []].append(slice)
    }
    return services.compactMap { view($0, byService[PodName(namespace: $0.namespace, name: $0.name)] ?? []) }
      .sorted { $0.id < $1.id }
  }

  private static func view(_ service: KubernetesObject, _ slices: [KubernetesObject]) -> ServiceView? {
    let spec = service.content["spec"]
    guard spec?["type"]?.text != "ExternalName" else { return nil }
    let address = spec?["clusterIP"]?.text ?? ""
    let showsAll = spec?["publishNotReadyAddresses"]?.isTrue == true
    var endpoints: Set<Endpoint> = []
    var targets: [String: Set<Target>] = [:]
    for slice in slices {
      let ready = (slice.content["endpoints"]?.elements ?? []).filter {
        // Absent means ready.
        showsAll || $0["conditions"]?["ready"]?.bool != false
      }
      for endpoint in ready {
        guard let address = endpoint["addresses"]?.strings.first else { continue }
        endpoints.insert(Endpoint(address: address, hostname: endpoint["hostname"]?.text ?? ""))
        for port in slice.content["ports"]?.elements ?? [] {
          guard let number = port["port"]?.integer else { continue }
          let key = "\(port["name"]?.text ?? "")/\((port["protocol"]?.text ?? "TCP").lowercased())"
          targets[key, default: []].insert(Target(address: address, port: number))
        }
      }
    }
    let ports = (spec?["ports"]?.elements ?? []).compactMap { port -> Port? in
      let transport = (port["protocol"]?.text ?? "TCP").lowercased()
      guard let number = port["port"]?.integer, transport == "tcp" || transport == "udp" else { return nil }
      let name = port["name"]?.text ?? ""
      return Port(
        name: name, transport: transport, number: number, nodePort: port["nodePort"]?.integer ?? 0,
        targets: (targets["\(name)/\(transport)"] ?? []).sorted())
    }
    return ServiceView(
      id: PodName(namespace: service.namespace, name: service.name), address: address == "None" ? "" : address,
      ports: ports, endpoints: endpoints.sorted())
  }
}
