import MeshModel
import ProxyCore

/// What balancers know of an endpoint of a Service's port, joined over those that have it: each worker has one, and one
/// for each client where policies differ by client. Those with the same outlier detection eject together.
struct EndpointLoad: Sendable {
  struct Key: Hashable, Sendable {
    var service: ServiceKey
    var port: UInt16
    var address: SocketAddress
  }

  let key: Key
  var balancers = 0
  /// For how many of them it is ejected, and for how much longer (nanoseconds) at most.
  var ejected = 0
  var ejectedFor: NanoTime = 0
  /// How many of those use it all the same, as too few others are left.
  var panicking = 0
  /// The most by any outlier detection: those of one are the same in all its balancers.
  var ejections: UInt64 = 0
  var outstanding = 0
  /// Of bytes, not of HTTP.
  var connections = 0
  /// The highest; nil before the first answer.
  var latency: NanoTime?

  init(key: Key) { self.key = key }

  init(key: Key, _ status: EndpointStatus, isOfConnections: Bool, now: NanoTime) {
    self.init(key: key)
    balancers = 1
    ejections = UInt64(status.ejections)
    if isOfConnections {
      connections = status.outstanding
    } else {
      outstanding = status.outstanding
      latency = status.latency
    }
    guard let end = status.ejectedUntil, end > now else { return }
    ejected = 1
    ejectedFor = end - now
    panicking = status.isUsable ? 1 : 0
  }

  mutating func add(_ other: EndpointLoad) {
    balancers += other.balancers
    ejected += other.ejected
    ejectedFor = max(ejectedFor, other.ejectedFor)
    panicking += other.panicking
    ejections = max(ejections, other.ejections)
    outstanding += other.outstanding
    connections += other.connections
    if let theirs = other.latency { latency = max(latency ?? 0, theirs) }
  }
}

extension Worker {
  /// The first Services, by name, until there are enough rows, and of each the first endpoints: those which
  /// `EndpointList` shows.
  func endpointLoads(of service: ServiceKey?) -> [EndpointLoad] {
    let chosen = clusters.values.filter { service == nil || $0.key.service == service }
      .sorted { ($0.key.service, $0.key.port) < ($1.key.service, $1.key.port) }
    var loads: [EndpointLoad.Key: EndpointLoad] = [:]
    var last: Cluster.Key?
    for cluster in chosen {
      let key = cluster.key
      if loads.count >= ProxyDump.rowsBound, key.service != last?.service || key.port != last?.port { break }
      last = key
      cluster.endpoints.catchUp(now: loop.now)
      for (index, endpoint) in cluster.endpoints.endpoints.prefix(ProxyDump.rowsBound).enumerated() {
        let place = EndpointLoad.Key(service: key.service, port: key.port, address: endpoint.address)
        loads[place, default: EndpointLoad(key: place)].add(
          EndpointLoad(
            key: place, cluster.endpoints.status(of: index, now: loop.now), isOfConnections: key.isOfConnections,
            now: loop.now))
      }
    }
    return Array(loads.values)
  }
}
