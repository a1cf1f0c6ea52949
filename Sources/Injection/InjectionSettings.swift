import MeshModel

/// What injected containers are made of.
public struct InjectionSettings: Hashable, Sendable {
  public static let standardImage = "ghcr.io/weft-mesh/weft-stub:\(WeftVersion.current)"

  public var image = InjectionSettings.standardImage
  /// Where weft-control is.
  public var meshNamespace = "weft-system"
  public var clusterDomain = "cluster.local"
  /// Whether the server knows init containers with `restartPolicy: Always` (Kubernetes 1.29).
  public var hasNativeSidecars = true
  /// An earlier injection is made anew, so that it is of these settings; else it is left as it is.
  public var renewsEarlier = false

  public init() {}
}
