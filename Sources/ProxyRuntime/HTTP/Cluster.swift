import MeshModel
import ProxyCore

/// The endpoints of one Service's port as one worker balances over them.
final class Cluster {
  struct Key: Hashable {
    var service: ServiceKey
    var port: UInt16
    var family: IPAddress.Family
    /// Where policies differ by client.
    var client: SPIFFEID?
  }

  let key: Key
  private(set) var policy: EffectivePolicy
  var endpoints = EndpointSet()
  /// How each of `endpoints` is reached.
  private(set) var targets: [OutboundRoute.Endpoint] = []
  var slots = ConnectionSlots()
  private var epoch: UInt64 = .max
  private var revision: UInt64 = .max
  private var podEpoch: UInt64 = .max
  /// nil before the first refresh, and once the Service is gone.
  private(set) var traffic: PortTraffic?

  init(key: Key, policy: EffectivePolicy) {
    self.key = key
    self.policy = policy
  }

  /// Takes what has changed since the last time.
  func refresh(_ worker: Worker, here: Workload?) {
    guard epoch != worker.epoch else { return }
    epoch = worker.epoch
    let traffic = worker.snapshot.traffic(of: key.service, port: key.port)
    let revision = worker.snapshot.revision(of: key.service)
    guard revision != self.revision || podEpoch != worker.podEpoch || traffic !== self.traffic else { return }
    if traffic !== self.traffic, let traffic { policy = traffic.policy(client: key.client, routeID: nil) }
    self.traffic = traffic
    self.revision = revision
    podEpoch = worker.podEpoch
    let list = worker.snapshot.balancedEndpoints(
      of: key.service, port: key.port, family: key.family, here: here
    ) { worker.pods[$0] != nil }
    endpoints.update(
      list.map(\.0), policy: policy.loadBalancer, locality: policy.locality,
      outlierDetection: policy.outlierDetection,
      board: policy.outlierDetection.flatMap { traffic?.outlierBoard(of: $0, family: key.family) },
      now: worker.loop.now)
    // The set leaves out what stands twice: the targets follow it.
    var byAddress: [SocketAddress: OutboundRoute.Endpoint] = [:]
    for (_, target) in list { byAddress[target.address] = byAddress[target.address] ?? target }
    targets = endpoints.endpoints.compactMap { byAddress[$0.address] }
  }
}
