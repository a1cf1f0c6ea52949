import Injection
import KubernetesAPI

/// Decides on a new pod: whether it gets a stub, and which one.
struct PodAdmission: Sendable {
  private static let accounts = KubernetesResource(version: "v1", plural: "serviceaccounts")
  private static let namespaces = KubernetesResource(version: "v1", plural: "namespaces")

  /// The cluster's own, which must start whatever the mesh does.
  static let exempt: Set<String> = ["kube-system", "kube-public", "kube-node-lease"]

  var settings: InjectionSettings
  /// An object's metadata as the API server has it now: a label of a moment ago counts. nil: there is no such object.
  var metadata:
    @Sendable (KubernetesResource, _ namespace: String, _ name: String) async throws(KubernetesError) -> JSONNode?

  /// - Throws: where the API server can't be asked; whether the pod is made then is the webhook's failure policy.
  func judge(_ request: AdmissionReview.Request) async throws(KubernetesError) -> AdmissionReview.Answer {
    let namespace = request.namespace
    guard let pod = request.pod, !Self.exempt.contains(namespace), namespace != settings.meshNamespace else {
      return AdmissionReview.Answer()
    }
    if let name = pod.duplicatedName {
      return AdmissionReview.Answer(refusal: "the pod has the field \"\(name.prefix(64))\" twice")
    }
    let account = pod["spec"]?["serviceAccountName"]?.text.flatMap { $0.isEmpty ? nil : $0 } ?? "default"
    let marks = ObjectMarks(metadata: pod["metadata"])
    let accountMarks = ObjectMarks(metadata: try await metadata(Self.accounts, namespace, account))
    let namespaceMarks = ObjectMarks(metadata: try await metadata(Self.namespaces, "", namespace))
    do throws(InjectionRefusal) {
      switch try StubChoice(pod: marks, account: accountMarks, namespace: namespaceMarks) {
      case .none(let warning): return AdmissionReview.Answer(warnings: warning.map { [$0] } ?? [])
      case .stub(let kind):
        let injection = try StubInjector(settings).inject(pod, kind: kind)
        let warnings = injection.warnings + Self.standard(namespaceMarks, hasSteps: !injection.steps.isEmpty)
        return AdmissionReview.Answer(steps: injection.steps, warnings: warnings)
      }
    } catch {
      return AdmissionReview.Answer(refusal: error.description)
    }
  }

  /// Pod Security admission refuses what a stub needs in a namespace that enforces more than `privileged`.
  private static func standard(_ namespace: ObjectMarks, hasSteps: Bool) -> [String] {
    let level = namespace.labels["pod-security.kubernetes.io/enforce"] ?? "privileged"
    guard hasSteps, level != "privileged" else { return [] }
    return [
      "the namespace enforces the Pod Security standard \(level.prefix(32)), which doesn't let a stub in: it needs "
        + "privileged (for its setup step's NET_ADMIN, or the node's socket)"
    ]
  }
}
