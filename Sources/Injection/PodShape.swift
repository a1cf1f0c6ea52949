import KubernetesAPI

/// What matters of a Pod to an injection, checked.
struct PodShape {
  private let pod: JSONNode
  private let spec: JSONNode
  let hasMetadata: Bool
  let hasAnnotations: Bool
  let containers: [JSONNode]
  /// nil: absent or null.
  let initContainers: [JSONNode]?
  let volumes: [JSONNode]?
  /// It says that it holds a stub, and does.
  let isInjected: Bool

  /// - Parameter believesMark: a mark without its stub is a mistake.
  init(_ pod: JSONNode, believesMark: Bool = true) throws(InjectionRefusal) {
    self.pod = pod
    guard case .object? = pod["spec"], let spec = pod["spec"] else { throw InjectionRefusal("the pod has no spec") }
    self.spec = spec
    hasMetadata = try Self.isMap(pod["metadata"], "metadata")
    hasAnnotations = try Self.isMap(pod["metadata"]?["annotations"], "metadata.annotations")
    containers = try Self.list(spec, "containers") ?? []
    guard !containers.isEmpty else { throw InjectionRefusal("the pod's spec.containers is empty") }
    initContainers = try Self.list(spec, "initContainers")
    volumes = try Self.list(spec, "volumes")
    let holdsStub = (containers + (initContainers ?? [])).contains { $0["name"]?.text == InjectionNames.stub }
    let mark = pod["metadata"]?["annotations"]?[InjectionNames.injected]?.text
    isInjected = holdsStub && mark.flatMap(StubKind.init) != nil
    guard isInjected || mark == nil || !believesMark else {
      throw InjectionRefusal(
        "the pod's annotation \(InjectionNames.injected) says that it holds a stub, and it holds no container "
          + "\(InjectionNames.stub): the injector writes that annotation, remove it")
    }
  }

  private static func isMap(_ node: JSONNode?, _ path: String) throws(InjectionRefusal) -> Bool {
    switch node {
    case nil, .null?: return false
    case .object?: return true
    default: throw InjectionRefusal("the pod's \(path) is no map")
    }
  }

  private static func list(_ spec: JSONNode, _ name: String) throws(InjectionRefusal) -> [JSONNode]? {
    switch spec[name] {
    case nil, .null?: return nil
    case .array(let elements)?:
      for element in elements {
        guard case .object = element else { throw InjectionRefusal("the pod's spec.\(name) holds what is no map") }
      }
      return elements
    default: throw InjectionRefusal("the pod's spec.\(name) is no list")
    }
  }

  /// Why a pod of this kind never has a stub; nil: it may.
  var reasonWithoutStub: String? {
    if spec["hostNetwork"] == .truth(true) {
      return "no stub in a pod with hostNetwork: its connections are the node's, and Weft captures none of them"
    }
    if pod["metadata"]?["annotations"]?["kubernetes.io/config.mirror"] != nil {
      return "no stub in a static pod: the kubelet runs it from a file"
    }
    let system = spec["nodeSelector"]?["kubernetes.io/os"]?.text ?? spec["os"]?["name"]?.text
    return system == "windows" ? "no stub in a pod for Windows: Weft runs on Linux" : nil
  }

  /// Throws where a stub beside what is there couldn't work, or would open the mesh to it.
  func check(_ kind: StubKind, hasNativeSidecars: Bool) throws(InjectionRefusal) {
    let ephemeral = try Self.list(spec, "ephemeralContainers") ?? []
    let all = containers + (initContainers ?? []) + ephemeral
    for name in [InjectionNames.stub, InjectionNames.setup] where all.contains(where: { $0["name"]?.text == name }) {
      throw InjectionRefusal(
        "the pod has a container called \(name) that Weft didn't put there: give it another name, or label the pod "
          + "\(InjectionNames.mode): node")
    }
    for volume in volumes ?? [] {
      guard let name = volume["name"]?.text, InjectionNames.volumes.contains(name) else { continue }
      throw InjectionRefusal("the pod has a volume called \(name), which is the stub's: give it another name")
    }
    let users = [spec] + all
    guard !users.contains(where: { $0["securityContext"]?["runAsUser"]?.integer == StubContainers.user }) else {
      throw InjectionRefusal(
        "the pod runs as user \(StubContainers.user), whose connections the mesh takes for the stub's own: choose another "
          + "runAsUser")
    }
    guard mayEnd, !hasNativeSidecars else { return }
    guard kind == .tunnel, spec["shareProcessNamespace"] == .truth(true) else {
      throw InjectionRefusal(
        "a pod with restartPolicy \(spec["restartPolicy"]?.text ?? "") would never end beside a stub on this server: that "
          + "needs native sidecars (Kubernetes 1.29), or in tunnel mode shareProcessNamespace: true, by which the stub "
          + "sees the end. Or label the pod \(InjectionNames.mode): node")
    }
  }

  /// A Job's pod.
  var mayEnd: Bool { (spec["restartPolicy"]?.text ?? "Always") != "Always" }

  func warnings(_ kind: StubKind, hasNativeSidecars: Bool) -> [String] {
    guard !hasNativeSidecars, kind == .tunnel, let initContainers, !initContainers.isEmpty else { return [] }
    return [
      "without native sidecars (Kubernetes 1.29) the pod's init containers run before the stub, and can reach nothing"
    ]
  }

  /// The steps that take the stub out. What they leave empty goes too: the injector had made it.
  var containerRemoval: [PatchStep] {
    let own: Set<String> = [InjectionNames.stub, InjectionNames.setup]
    var steps = Self.removal(initContainers, "initContainers", own)
    // A pod has one container at least.
    steps += Self.removal(containers, "containers", own, keepsList: true)
    return steps + Self.removal(volumes, "volumes", InjectionNames.volumes)
  }

  /// The pod's first container of its own.
  var application: String? { containers.lazy.compactMap { $0["name"]?.text }.first { $0 != InjectionNames.stub } }

  /// What kubectl is told already.
  var defaultContainer: String? { pod["metadata"]?["annotations"]?[InjectionNames.defaultContainer]?.text }

  /// The steps that take the injector's annotations away; that for kubectl too where it says what holds without it.
  var markRemoval: [PatchStep] {
    var own = [InjectionNames.injected]
    if let defaultContainer, defaultContainer == application { own.append(InjectionNames.defaultContainer) }
    guard case .object(let annotations)? = pod["metadata"]?["annotations"], annotations.count == own.count else {
      return own.map { .remove(["metadata", "annotations", $0]) }
    }
    guard case .object(let metadata)? = pod["metadata"], metadata.count == 1 else {
      return [.remove(["metadata", "annotations"])]
    }
    return [.remove(["metadata"])]
  }

  private static func removal(
    _ list: [JSONNode]?, _ name: String, _ own: Set<String>, keepsList: Bool = false
  ) -> [PatchStep] {
    guard let list else { return [] }
    let found = list.indices.filter { list[$0]["name"]?.text.map(own.contains) == true }
    if found.isEmpty { return [] }
    if found.count == list.count, !keepsList { return [.remove(["spec", name])] }
    return found.reversed().map { .remove(["spec", name, "\($0)"]) }
  }
}
