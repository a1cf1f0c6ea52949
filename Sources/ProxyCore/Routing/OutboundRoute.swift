import MeshModel

/// Where a captured connection may go, decided once from its original destination.
public enum OutboundRoute: Sendable, Equatable {
  /// To the port of a Service: as its routes and policies have it.
  case service(ServiceKey)
  /// To the workload that was addressed.
  case endpoint(Endpoint)
  /// Outside the mesh: as the application asked.
  case passthrough(SocketAddress)
  case refused(Refusal)

  public struct Endpoint: Sendable, Hashable {
    public let address: SocketAddress
    public let workloadID: String
    public let transport: Transport

    public init(address: SocketAddress, workloadID: String, transport: Transport) {
      self.address = address
      self.workloadID = workloadID
      self.transport = transport
    }
  }

  /// How an endpoint is reached.
  public enum Transport: Sendable, Hashable {
    /// On this node: straight to the application in the pod's namespace, in one pass.
    case delivery
    /// HBONE to port 15008, where exactly this identity must answer.
    case tunnel(SPIFFEID)
    /// A workload outside the mesh: plaintext.
    case plaintext
  }

  public enum Refusal: String, Sendable {
    case unknownServicePort = "the Service has no such port"
    case proxyAddress = "a port of the mesh itself"
  }
}

extension MeshSnapshot {
  /// - Parameter isServedHere: whether this proxy holds that workload's listeners, so that it may deliver to it.
  public func route(to destination: SocketAddress, isServedHere: (String) -> Bool) -> OutboundRoute {
    if let service = service(at: destination.ip) {
      return traffic(of: service.key, port: destination.port) == nil
        ? .refused(.unknownServicePort) : .service(service.key)
    }
    guard let workload = workload(at: destination.ip) else { return .passthrough(destination) }
    if workload.isMeshed, [MeshPort.outbound, MeshPort.inbound].contains(destination.port) {
      return .refused(.proxyAddress)
    }
    return .endpoint(endpoint(of: workload, at: destination, isServedHere: isServedHere))
  }

  /// The endpoints of a Service's port for a balancer, ready or not, each with the way to it.
  /// - Parameter here: a workload of this node, which says its zone and region.
  public func balancedEndpoints(
    of key: ServiceKey, port: UInt16, family: IPAddress.Family, here: Workload?, isServedHere: (String) -> Bool
  ) -> [(BalancedEndpoint, OutboundRoute.Endpoint)] {
    endpoints(of: key).compactMap { endpoint in
      guard let target = endpoint.targetPort(for: port), let workload = workload(id: endpoint.workloadID),
        let ip = endpoint.addresses.first(where: { $0.family == family }) ?? endpoint.addresses.first
      else { return nil }
      let address = SocketAddress(ip, target)
      let balanced = BalancedEndpoint(
        id: workload.id, address: address, weight: workload.weight, isReady: workload.isReady,
        isDraining: workload.isDraining, rank: rank(of: workload, from: here))
      return (balanced, self.endpoint(of: workload, at: address, isServedHere: isServedHere))
    }
  }

  private func rank(of workload: Workload, from here: Workload?) -> LocalityRank {
    if !workload.node.isEmpty, workload.node == node { return .node }
    guard let here else { return .other }
    if !workload.zone.isEmpty, workload.zone == here.zone { return .zone }
    return !workload.region.isEmpty && workload.region == here.region ? .region : .other
  }

  private func endpoint(
    of workload: Workload, at address: SocketAddress, isServedHere: (String) -> Bool
  ) -> OutboundRoute.Endpoint {
    let transport: OutboundRoute.Transport
    if workload.isMeshed, isServedHere(workload.id) {
      transport = .delivery
    } else if workload.isMeshed, address.port != MeshPort.hbone,
      let identity = workload.identity(in: config.trustDomain)
    {
      transport = .tunnel(identity)
    } else {
      transport = .plaintext
    }
    return OutboundRoute.Endpoint(address: address, workloadID: workload.id, transport: transport)
  }
}
