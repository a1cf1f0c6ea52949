import MeshModel

extension TrafficPolicy {
  /// What a Service with `sessionAffinity: ClientIP` asks for, below every policy that says how to balance: endpoints that
  /// a client's address decides. There is no table of clients and so no `timeoutSeconds`: a client keeps its endpoint for
  /// as long as that is there.
  static func clientAffinity(of service: ServiceKey) -> TrafficPolicy {
    // Objects have no slash in their names.
    var policy = TrafficPolicy(
      namespace: service.namespace, name: "Service/\(service.name)", created: .max,
      targets: [.init(kind: .service(service))])
    policy.loadBalancer = LoadBalancer(algorithm: .maglev(.sourceAddress))
    return policy
  }
}
