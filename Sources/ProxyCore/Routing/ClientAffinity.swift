import MeshModel

/// Endpoints that a client's address decides: of Services with `sessionAffinity: ClientIP`, and wherever a policy hashes
/// the source address. There is no table of clients and so no `timeoutSeconds`: a client keeps its endpoint for as long
/// as that is there.
public enum ClientAffinity {
  /// Of a Service with `sessionAffinity: ClientIP`, below every other policy that says how to balance.
  static func policy(of service: ServiceKey) -> TrafficPolicy {
    var policy = TrafficPolicy(
      namespace: service.namespace, name: service.name, created: .max, targets: [.init(kind: .service(service))])
    policy.loadBalancer = LoadBalancer(algorithm: .maglev(.sourceAddress))
    return policy
  }

  public static func holds(_ balancer: LoadBalancer) -> Bool {
    balancer.algorithm == .maglev(.sourceAddress) || balancer.algorithm == .ringHash(.sourceAddress)
  }

  /// For a stream of bytes, by rendezvous hashing (Thaler and Ravishankar 1998): where an endpoint goes, only its own
  /// clients move.
  /// - Returns: an index into `addresses`; nil where it is empty.
  public static func choose(from addresses: [SocketAddress], for client: IPAddress) -> Int? {
    let key = StableHash.hash(client)
    return addresses.indices.max { weight(addresses[$0], key) < weight(addresses[$1], key) }
  }

  private static func weight(_ address: SocketAddress, _ key: UInt64) -> UInt64 {
    StableHash.mix(StableHash.hash(address) ^ key)
  }
}
