import MeshModel
import ProxyCore

/// The endpoints of one Service's port as one worker balances over them.
final class Cluster {
  struct Key: Hashable {
    /// A route whose policies say how its backends are reached.
    struct Route: Hashable {
      var id: String
      /// The port that it belongs to.
      var service: ServiceKey
      var port: UInt16
    }

    var service: ServiceKey
    var port: UInt16
    var family: IPAddress.Family
    /// Where policies differ by client.
    var client: SPIFFEID?
    var route: Route?
    /// Of bytes: balanced by connections, not by requests.
    var isOfConnections = false
  }

  let key: Key
  private(set) var policy = EffectivePolicy()
  var endpoints = EndpointSet()
  /// How each of `endpoints` is reached.
  private(set) var targets: [OutboundRoute.Endpoint] = []
  var slots = ConnectionSlots()
  /// Its requests go to another cluster now: connections that count here aren't kept.
  private(set) var isRetired = false
  private var epoch: UInt64 = .max
  private var revision: UInt64 = .max
  private var podEpoch: UInt64 = .max
  /// nil before the first refresh, and once the Service is gone.
  private(set) var traffic: PortTraffic?
  private var parent: PortTraffic?

  init(key: Key) { self.key = key }

  /// Takes what has changed since the last time.
  /// - Parameter here: looked up only where something has.
  func refresh(_ worker: Worker, here workload: @autoclosure () -> Workload?) {
    guard epoch != worker.epoch else { return }
    epoch = worker.epoch
    let traffic = worker.snapshot.traffic(of: key.service, port: key.port)
    let parent = key.route.flatMap { worker.snapshot.traffic(of: $0.service, port: $0.port) }
    let revision = worker.snapshot.revision(of: key.service)
    let isNew = traffic !== self.traffic || parent !== self.parent
    guard revision != self.revision || podEpoch != worker.podEpoch || isNew else { return }
    if isNew, let traffic {
      let limits = policy.limits
      policy = traffic.backendPolicy(client: key.client, routeID: key.route?.id, parent: parent)
      // No request meets these connections any more.
      if limits !== policy.limits { while worker.upstreams.yieldSlot(of: self) {} }
    }
    self.traffic = traffic
    self.parent = parent
    self.revision = revision
    podEpoch = worker.podEpoch
    let list = worker.snapshot.balancedEndpoints(
      of: key.service, port: key.port, family: key.family, here: workload()
    ) { worker.pods[$0] != nil }
    endpoints.update(
      list.map(\.0), policy: loadBalancer, locality: policy.locality, outlierDetection: policy.outlierDetection,
      board: policy.outlierDetection.flatMap(board), now: worker.loop.now)
    // The set leaves out what stands twice: the targets follow it.
    var byAddress: [SocketAddress: OutboundRoute.Endpoint] = [:]
    for (_, target) in list { byAddress[target.address] = byAddress[target.address] ?? target }
    targets = endpoints.endpoints.compactMap { byAddress[$0.address] }
  }

  func retire() { isRetired = true }

  private func board(_ detection: OutlierDetection) -> OutlierBoard? {
    for traffic in [parent, traffic] {
      let board = traffic?.outlierBoard(of: detection, service: key.service, port: key.port, family: key.family)
      if let board { return board }
    }
    return nil
  }

  /// Peak-EWMA weighs how quickly requests are answered: connections that carry none are balanced by their number.
  private var loadBalancer: LoadBalancer {
    var balancer = policy.loadBalancer
    if key.isOfConnections, balancer.algorithm == .peakEWMA { balancer.algorithm = .leastRequest }
    return balancer
  }
}

extension Worker {
  /// - Parameter route: the route by which a request of that client gets there.
  func cluster(
    _ service: ServiceKey, _ port: UInt16, _ family: IPAddress.Family, client: SPIFFEID?,
    route: Cluster.Key.Route? = nil, isOfConnections: Bool = false
  ) -> Cluster {
    let parent = route.flatMap { snapshot.traffic(of: $0.service, port: $0.port) }
    let isShaped = route.map { parent?.shapesBackends(ofRoute: $0.id) == true } == true
    let distinguishes =
      snapshot.traffic(of: service, port: port)?.distinguishesClients == true
      || isShaped && parent?.distinguishesClients == true
    let key = Cluster.Key(
      service: service, port: port, family: family, client: distinguishes ? client : nil,
      route: isShaped ? route : nil, isOfConnections: isOfConnections)
    if let known = clusters[key] { return known }
    let cluster = Cluster(key: key)
    clusters[key] = cluster
    return cluster
  }
}
