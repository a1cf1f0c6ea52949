import MeshModel

/// Whom a certificate names in its one URI SAN.
public enum CertificateSubject: Hashable, Sendable, CustomStringConvertible {
  case workload(SPIFFEID)
  case node(NodeID)
  /// The control plane: `spiffe://<trust-domain>/control`.
  case control(TrustDomain)

  /// Parses the URI; nil for a URI that is none of the three.
  public init?(_ uri: String) {
    if let id = SPIFFEID(uri) {
      self = .workload(id)
    } else if let id = NodeID(uri) {
      self = .node(id)
    } else {
      let prefix = "spiffe://"
      let suffix = "/control"
      guard uri.utf8.count <= 2048, uri.hasPrefix(prefix), uri.hasSuffix(suffix),
        let domain = TrustDomain(String(uri.dropFirst(prefix.count).dropLast(suffix.count)))
      else { return nil }
      self = .control(domain)
    }
  }

  public var trustDomain: TrustDomain {
    switch self {
    case .workload(let id): id.trustDomain
    case .node(let id): id.trustDomain
    case .control(let domain): domain
    }
  }

  public var uri: String {
    switch self {
    case .workload(let id): id.description
    case .node(let id): id.description
    case .control(let domain): "spiffe://\(domain.name)/control"
    }
  }

  public var description: String { uri }
}
