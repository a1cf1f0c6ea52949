/// What holds for the whole mesh.
public struct MeshConfig: Hashable, Sendable {
  public var trustDomain: TrustDomain
  /// The suffix of Service names in DNS.
  public var clusterDomain: String
  public var mutualTLS: MutualTLS

  /// What a meshed pod does with plaintext from outside the mesh.
  public enum MutualTLS: UInt8, Hashable, Sendable {
    /// Accepts it.
    case permissive
    /// Refuses it.
    case strict
  }

  public init(
    trustDomain: TrustDomain = .clusterLocal, clusterDomain: String = "cluster.local",
    mutualTLS: MutualTLS = .permissive
  ) {
    self.trustDomain = trustDomain
    self.clusterDomain = clusterDomain
    self.mutualTLS = mutualTLS
  }
}

/// The ports that Weft uses inside a pod's network namespace and on the node (DESIGN §7).
public enum MeshPort {
  public static let outbound: UInt16 = 15001
  public static let inbound: UInt16 = 15006
  public static let hbone: UInt16 = 15008
  /// Discovery and certificate signing, mTLS with the node's certificate.
  public static let discovery: UInt16 = 15010
  /// Where an agent exchanges its join token for the node's certificate.
  public static let join: UInt16 = 15012
  public static let dns: UInt16 = 15053
  /// Probes: `/healthz/live` and `/healthz/ready`, plain HTTP.
  public static let health: UInt16 = 15021
}
