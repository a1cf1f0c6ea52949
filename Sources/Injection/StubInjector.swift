import KubernetesAPI

/// Puts a stub into a Pod, or into the template of one, and takes it out again. Pure: a tree in, the steps that change it
/// out.
public struct StubInjector: Sendable {
  public struct Injection: Hashable, Sendable {
    /// None: it is already as it should be.
    public var steps: [PatchStep] = []
    /// Sentences for the person who made the pod.
    public var warnings: [String] = []
  }

  public var settings: InjectionSettings

  public init(_ settings: InjectionSettings) { self.settings = settings }

  /// - Parameters:
  ///   - pod: with `metadata` and `spec`.
  ///   - kind: nil: what the pod's annotation asks for, tunnel where it doesn't say.
  /// - Throws: a stub in it couldn't work, or would lend the mesh's rights to what isn't the mesh's.
  public func inject(_ pod: JSONNode, kind: StubKind? = nil) throws(InjectionRefusal) -> Injection {
    let shape = try PodShape(pod)
    if let reason = shape.reasonWithoutStub { return Injection(warnings: [reason]) }
    guard !shape.isInjected || settings.renewsEarlier else { return Injection() }
    let asked = try StubChoice.kind(ObjectMarks(metadata: pod["metadata"]))
    let kind = kind ?? asked ?? .tunnel
    let removal = shape.isInjected ? shape.containerRemoval : []
    let bare = shape.isInjected ? try PodShape(Self.apply(removal, pod), believesMark: false) : shape
    try bare.check(kind, hasNativeSidecars: settings.hasNativeSidecars)
    let steps =
      removal
      + addition(to: bare, StubContainers(kind: kind, settings: settings, endsWithApplication: bare.mayEnd), kind)
    return Injection(
      steps: try Self.apply(steps, pod) == pod ? [] : steps,
      warnings: bare.warnings(kind, hasNativeSidecars: settings.hasNativeSidecars))
  }

  /// The steps that undo an injection; none where there is none.
  public func remove(_ pod: JSONNode) throws(InjectionRefusal) -> [PatchStep] {
    let shape = try PodShape(pod)
    return shape.isInjected ? shape.containerRemoval + shape.markRemoval : []
  }

  private static func apply(_ steps: [PatchStep], _ pod: JSONNode) throws(InjectionRefusal) -> JSONNode {
    do throws(PatchProblem) {
      return try pod.applying(steps)
    } catch {
      throw InjectionRefusal("the pod can't be patched: \(error)")
    }
  }

  private func addition(to shape: PodShape, _ containers: StubContainers, _ kind: StubKind) -> [PatchStep] {
    var steps: [PatchStep] = []
    let first = [containers.setup, settings.hasNativeSidecars ? containers.stub : nil].compactMap { $0 }
    if !first.isEmpty {
      if shape.initContainers == nil {
        steps.append(.add(["spec", "initContainers"], .array(first)))
      } else {
        steps += first.enumerated().map { .add(["spec", "initContainers", "\($0.offset)"], $0.element) }
      }
    }
    if !settings.hasNativeSidecars { steps.append(.add(["spec", "containers", "0"], containers.stub)) }
    if shape.volumes == nil {
      steps.append(.add(["spec", "volumes"], .array(containers.volumes)))
    } else {
      steps += containers.volumes.map { .add(["spec", "volumes", "-"], $0) }
    }
    var marks = [JSONNode.Member(key: InjectionNames.injected, value: .text(kind.rawValue))]
    if shape.defaultContainer == nil, let name = shape.application {
      marks.append(.init(key: InjectionNames.defaultContainer, value: .text(name)))
    }
    if !shape.hasMetadata {
      steps.append(.add(["metadata"], ["annotations": .object(marks)]))
    } else if !shape.hasAnnotations {
      steps.append(.add(["metadata", "annotations"], .object(marks)))
    } else {
      steps += marks.map { .add(["metadata", "annotations", $0.key], $0.value) }
    }
    return steps
  }
}
