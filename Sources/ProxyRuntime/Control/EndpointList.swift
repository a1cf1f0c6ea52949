import MeshModel
import ProxyCore

/// What `weft endpoints` shows: the endpoints that the snapshot gives each port of a Service, with what the workers'
/// balancers know of them.
struct EndpointList: Encodable {
  struct Entry: Encodable {
    let service: String
    let port: UInt16
    let address, workload: String
    let ready, draining: Bool
    let weight: UInt32
    /// node, zone, region or other
    let locality: String
    /// delivery, tunnel or plaintext
    let transport: String
    /// How many balancers have it; 0: no request has used it yet.
    let balancers: Int
    let ejected: Int
    let ejected_seconds: Double?
    let panicking: Int
    let ejections: UInt64
    let requests: Int
    /// Of bytes, not of HTTP.
    let connections: Int
    let latency_ms: Double?
  }

  /// There are more.
  private(set) var truncated = false
  private(set) var endpoints: [Entry] = []

  /// - Parameters:
  ///   - pods: those that this proxy serves.
  ///   - service: nil: all.
  init(
    _ reports: [WorkerReport], _ snapshot: MeshSnapshot, pods: Set<String>, service: ServiceKey?, bound: Int
  ) {
    var loads: [EndpointLoad.Key: EndpointLoad] = [:]
    var families: [ServiceKey: Set<IPAddress.Family>] = [:]
    for load in reports.lazy.flatMap(\.endpoints) {
      loads[load.key, default: EndpointLoad(key: load.key)].add(load)
      families[load.key.service, default: []].insert(load.key.address.ip.family)
    }
    // Any of them says the node's zone and region.
    let here = pods.min().flatMap { snapshot.workload(id: $0) }
    let services = service.map { [snapshot.service($0)].compactMap(\.self) } ?? snapshot.allServices
    for service in services {
      let used = families[service.key] ?? []
      let served = [IPAddress.Family.v4, .v6].filter { family in
        used.contains(family) || service.addresses.contains { $0.family == family }
      }
      for port in service.ports.filter({ $0.transport == .tcp }).map(\.port).sorted() {
        guard endpoints.count < bound else {
          truncated = truncated || !snapshot.endpoints(of: service.key).isEmpty
          continue
        }
        add(service.key, port, served.isEmpty ? [.v4] : served, snapshot, pods, here, bound, loads)
      }
    }
  }

  private mutating func add(
    _ service: ServiceKey, _ port: UInt16, _ families: [IPAddress.Family], _ snapshot: MeshSnapshot,
    _ pods: Set<String>, _ here: Workload?, _ bound: Int,
    _ loads: [EndpointLoad.Key: EndpointLoad]
  ) {
    var seen: Set<SocketAddress> = []
    for family in families {
      let list = snapshot.balancedEndpoints(
        of: service, port: port, family: family, here: here, isServedHere: { pods.contains($0) })
      for (endpoint, target) in list where seen.insert(endpoint.address).inserted {
        guard endpoints.count < bound else {
          truncated = true
          return
        }
        let key = EndpointLoad.Key(service: service, port: port, address: endpoint.address)
        let load = loads[key]
        endpoints.append(
          Entry(
            service: service.description, port: port, address: endpoint.address.description, workload: endpoint.id,
            ready: endpoint.isReady, draining: endpoint.isDraining, weight: endpoint.weight,
            locality: "\(endpoint.rank)", transport: target.transport.name, balancers: load?.balancers ?? 0,
            ejected: load?.ejected ?? 0,
            ejected_seconds: load.flatMap { $0.ejected > 0 ? Double($0.ejectedFor) / 1e9 : nil },
            panicking: load?.panicking ?? 0, ejections: load?.ejections ?? 0, requests: load?.outstanding ?? 0,
            connections: load?.connections ?? 0, latency_ms: load?.latency.map { (Double($0) / 1e4).rounded() / 100 }))
      }
    }
  }
}

extension OutboundRoute.Transport {
  fileprivate var name: String {
    switch self {
    case .delivery: "delivery"
    case .tunnel: "tunnel"
    case .plaintext: "plaintext"
    }
  }
}
