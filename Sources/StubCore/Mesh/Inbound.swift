import MeshModel

/// Who this stub serves.
public struct StubPod: Equatable {
  /// `namespace/name`
  public var workload: String
  public var addresses: [IPAddress]
  /// The node's: kubelet's probes come from there.
  public var hostAddresses: [IPAddress]

  public init(workload: String, addresses: [IPAddress], hostAddresses: [IPAddress] = []) {
    self.workload = workload
    self.addresses = addresses
    self.hostAddresses = hostAddresses
  }
}

/// An answer with its reason.
public enum Verdict: Equatable {
  case allowed
  case refused(String)
}

/// What may enter the pod.
extension MeshTable {
  /// Judges the certificate of a tunnel's client, which chains to the trust bundle already: its SPIFFE ID has to be the one
  /// that discovery gives the workload at the peer's address, and known to discovery at all.
  public func judge(peerURI: String, at address: IPAddress) -> Verdict {
    guard let id = SPIFFEID(peerURI) else {
      let shown = peerURI.isEmpty ? "a certificate without one URI SAN" : peerURI
      return .refused("\(shown) is not a workload's SPIFFE ID")
    }
    guard id.trustDomain == config.trustDomain else {
      return .refused("\(id) is not of the trust domain \(config.trustDomain)")
    }
    if let workload = workload(at: address) {
      guard identity(of: workload) == peerURI else {
        return .refused("\(address) is \(identity(of: workload)), and its client showed \(peerURI)")
      }
      return .allowed
    }
    guard knows(identityPath: "ns/\(id.namespace)/sa/\(id.serviceAccount)") else {
      return .refused("no workload has the identity \(peerURI)")
    }
    return .allowed
  }

  /// Plaintext from `client` to a port of the pod.
  public func judgePlaintext(from client: IPAddress, to target: SocketAddress, of pod: StubPod) -> Verdict {
    guard Self.isDeliverable(target, of: pod) else {
      return .refused("\(target) is not an address and port of this pod's applications")
    }
    // Until the control plane has spoken, nothing but probes passes without a certificate.
    if hasConfig, !config.isStrict { return .allowed }
    if pod.hostAddresses.contains(client), workload(id: pod.workload)?.probePorts.contains(target.port) == true {
      return .allowed
    }
    return .refused(
      hasConfig
        ? "mutual TLS is STRICT: plaintext from \(client) to port \(target.port)"
        : "the control plane hasn't said yet whether plaintext may enter: from \(client) to port \(target.port)")
  }

  /// The target of a CONNECT where it names this pod.
  public static func deliveryTarget(authority: String, of pod: StubPod) -> SocketAddress? {
    guard let address = SocketAddress(authority), isDeliverable(address, of: pod) else { return nil }
    return address
  }

  /// Not a port of the stub's own: a delivery to 15006 would arrive there as a new connection, and so on without end.
  static func isDeliverable(_ address: SocketAddress, of pod: StubPod) -> Bool {
    address.port != 0 && ![MeshPort.outbound, MeshPort.inbound, MeshPort.hbone].contains(address.port)
      && pod.addresses.contains(address.ip)
  }
}

/// A connection that an authorization policy may judge before a byte of it moves.
public struct AuthorizationQuestion: Equatable {
  /// SPIFFE ID that the client has proven; nil for plaintext.
  public var clientIdentity: String?
  public var clientAddress: IPAddress
  public var target: SocketAddress

  public init(clientIdentity: String?, clientAddress: IPAddress, target: SocketAddress) {
    self.clientIdentity = clientIdentity
    self.clientAddress = clientAddress
    self.target = target
  }
}

/// Where authorization of connections takes hold. Policies of requests need HTTP, which a stub doesn't read.
public protocol ConnectionAuthorizer {
  func judge(_ question: AuthorizationQuestion) -> Verdict
}

/// Who may connect, and to what: first by the mesh's table, then by the policies.
public struct InboundJudge {
  public enum Answer: Equatable {
    case deliver(to: SocketAddress)
    /// - Parameter status: of the answer to a CONNECT.
    case refused(status: Int, String)
  }

  private let pod: StubPod
  private let authorizer: any ConnectionAuthorizer

  public init(pod: StubPod, authorizer: any ConnectionAuthorizer = AllowAll()) {
    self.pod = pod
    self.authorizer = authorizer
  }

  public func plaintext(from client: IPAddress, to target: SocketAddress, by table: MeshTable) -> Answer {
    if case .refused(let reason) = table.judgePlaintext(from: client, to: target, of: pod) {
      return .refused(status: 403, reason)
    }
    return authorized(AuthorizationQuestion(clientIdentity: nil, clientAddress: client, target: target))
  }

  /// A tunnel's client has proven its identity before.
  public func connect(_ authority: String, from client: IPAddress, identity: String) -> Answer {
    guard let target = MeshTable.deliveryTarget(authority: authority, of: pod) else {
      return .refused(status: 403, "CONNECT to \(authority), which is not this pod")
    }
    return authorized(AuthorizationQuestion(clientIdentity: identity, clientAddress: client, target: target))
  }

  private func authorized(_ question: AuthorizationQuestion) -> Answer {
    if case .refused(let reason) = authorizer.judge(question) { return .refused(status: 403, reason) }
    return .deliver(to: question.target)
  }
}

/// In force while there are no policies.
public struct AllowAll: ConnectionAuthorizer {
  public init() {}

  public func judge(_ question: AuthorizationQuestion) -> Verdict { .allowed }
}
