/// What a pod's stub does.
public enum StubKind: String, Sendable, CaseIterable {
  /// Opens the pod's sockets and passes them to the node's proxy.
  case handoff
  /// Carries the pod's connections itself: for nodes without an agent.
  case tunnel
}

/// Labels and annotations of the injection.
public enum InjectionNames {
  /// Label of a Pod, ServiceAccount or Namespace: `stub` or `node`.
  public static let mode = "weft.dev/mode"
  /// Label of a Pod or Namespace: `enabled` or `disabled`.
  public static let mesh = "weft.dev/mesh"
  /// Annotation of a Pod, ServiceAccount or Namespace: `handoff` or `tunnel`.
  public static let kind = "weft.dev/stub"
  /// Annotation that the injector writes: the kind of the stub that is in the pod.
  public static let injected = "weft.dev/injected"
  /// Annotation for kubectl: the container that `exec` and `logs` mean where none is said.
  static let defaultContainer = "kubectl.kubernetes.io/default-container"

  /// The stub's container.
  public static let stub = "weft-stub"
  static let setup = "weft-init"
  static let tokenVolume = "weft-token"
  static let rootsVolume = "weft-roots"
  static let runVolume = "weft-run"
  static let volumes: Set<String> = [tokenVolume, rootsVolume, runVolume]
}

/// Why a pod can't have a stub: a sentence that says what to do.
public struct InjectionRefusal: Error, Hashable, Sendable, CustomStringConvertible {
  public var description: String

  public init(_ description: String) { self.description = description }
}
