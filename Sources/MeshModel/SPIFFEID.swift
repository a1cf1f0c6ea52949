/// The identity of a workload: `spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>`
/// (SPIFFE-ID §2; the path is Istio's, so that the peers of an existing mesh understand it).
public struct SPIFFEID: Hashable, Sendable, CustomStringConvertible {
  public let trustDomain: TrustDomain
  public let namespace: String
  public let serviceAccount: String

  /// nil where a part is not a DNS label (RFC 1123; a service account may be a DNS subdomain).
  public init?(trustDomain: TrustDomain, namespace: String, serviceAccount: String) {
    guard DNSName.isLabel(namespace), DNSName.isSubdomain(serviceAccount) else { return nil }
    self.trustDomain = trustDomain
    self.namespace = namespace
    self.serviceAccount = serviceAccount
  }

  /// Parses the URI; at most 2048 bytes (SPIFFE-ID §2.3).
  public init?(_ uri: String) {
    let prefix = "spiffe://"
    guard uri.utf8.count <= 2048, uri.hasPrefix(prefix) else { return nil }
    let parts = uri.dropFirst(prefix.count).split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 5, parts[1] == "ns", parts[3] == "sa", let domain = TrustDomain(String(parts[0])) else {
      return nil
    }
    self.init(trustDomain: domain, namespace: String(parts[2]), serviceAccount: String(parts[4]))
  }

  public var description: String {
    "spiffe://\(trustDomain.name)/ns/\(namespace)/sa/\(serviceAccount)"
  }
}

/// The identity of a node's agent: `spiffe://<trust-domain>/node/<name>`. It authenticates the agent to the
/// control plane and is never accepted from a workload.
public struct NodeID: Hashable, Sendable, CustomStringConvertible {
  public let trustDomain: TrustDomain
  public let node: String

  public init?(trustDomain: TrustDomain, node: String) {
    guard DNSName.isSubdomain(node) else { return nil }
    self.trustDomain = trustDomain
    self.node = node
  }

  public init?(_ uri: String) {
    let prefix = "spiffe://"
    guard uri.utf8.count <= 2048, uri.hasPrefix(prefix) else { return nil }
    let parts = uri.dropFirst(prefix.count).split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 3, parts[1] == "node", let domain = TrustDomain(String(parts[0])) else { return nil }
    self.init(trustDomain: domain, node: String(parts[2]))
  }

  public var description: String { "spiffe://\(trustDomain.name)/node/\(node)" }
}

/// A trust domain name: lower-case letters, digits, `.`, `-`, `_`; 1 to 255 bytes (SPIFFE-ID §2.1).
public struct TrustDomain: Hashable, Sendable, CustomStringConvertible {
  public let name: String

  public init?(_ name: String) {
    guard (1...255).contains(name.utf8.count),
      name.utf8.allSatisfy({ byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
          UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
          true
        default: false
        }
      })
    else { return nil }
    self.name = name
  }

  public static let clusterLocal = TrustDomain("cluster.local")!

  public var description: String { name }
}
