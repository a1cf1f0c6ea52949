import MeshModel

/// What may enter a meshed pod.
extension MeshSnapshot {
  public enum TunnelPeer: Sendable, Equatable {
    case accepted(SPIFFEID)
    case refused(String)
  }

  /// Judges the certificate of a tunnel's client: it chains to the trust bundle already; here its SPIFFE ID has to
  /// be the one that discovery gives the workload at the peer's address, and known to discovery at all.
  public func judge(peerURI: String?, at address: IPAddress) -> TunnelPeer {
    guard let peerURI else { return .refused("the client's certificate has no single URI SAN") }
    guard let identity = SPIFFEID(peerURI) else {
      return .refused("\(peerURI.prefix(300)) is not a workload's SPIFFE ID")
    }
    guard identity.trustDomain == config.trustDomain else {
      return .refused("\(identity) is not of the trust domain \(config.trustDomain)")
    }
    if let workload = workload(at: address) {
      guard let expected = workload.identity(in: config.trustDomain) else {
        return .refused("the workload \(workload.id) has no identity")
      }
      guard expected == identity else {
        return .refused("\(address) is \(expected), and its client showed \(identity)")
      }
      return .accepted(identity)
    }
    guard knows(identity) else { return .refused("no workload has the identity \(identity)") }
    return .accepted(identity)
  }

  /// Whether plaintext from outside the mesh may enter.
  public var acceptsPlaintext: Bool { config.mutualTLS == .permissive }

  /// The port of a CONNECT's authority where it names this workload; nil otherwise (RFC 9110 §9.3.6).
  public func deliveryTarget(authority: String, of workloadID: String) -> SocketAddress? {
    guard let address = SocketAddress(authority), address.port != 0, mayDeliver(to: address, of: workloadID) else {
      return nil
    }
    return address
  }

  /// Whether `address` is the workload's and not a port of the proxy: a delivery to 15006 would arrive there as a new
  /// connection, be delivered again, and so on until no descriptor is left.
  public func mayDeliver(to address: SocketAddress, of workloadID: String) -> Bool {
    ![MeshPort.outbound, MeshPort.inbound, MeshPort.hbone].contains(address.port)
      && workload(id: workloadID)?.addresses.contains(address.ip) == true
  }
}
