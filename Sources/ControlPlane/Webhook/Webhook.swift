import Discovery
import Foundation
import Identity
import Injection
import KubernetesAPI
import Logging
import Synchronization

/// The injector's webhook: serves it, and keeps the CA that the API server verifies it by in its configuration.
struct Webhook: Sendable {
  static let configurationName = "weft-injector"
  static let serviceName = "weft-webhook"
  /// Between two looks at the configuration.
  static let interval = Duration.seconds(5)
  private static let configurations = KubernetesResource(
    group: "admissionregistration.k8s.io", version: "v1", plural: "mutatingwebhookconfigurations")

  let client: KubernetesClient
  let authority: CertificateAuthority
  let logger: Logger
  let namespace: String
  let settings: InjectionSettings
  /// nil: as the server's version says.
  let hasNativeSidecars: Bool?

  /// The names of its certificate.
  static func names(namespace: String, clusterDomain: String) -> [String] {
    ["\(serviceName).\(namespace).svc", "\(serviceName).\(namespace).svc.\(clusterDomain)"]
  }

  /// Until the task is cancelled; throws where the port can't be had.
  /// - Parameters:
  ///   - further: names and addresses that it is reached by besides its Service's.
  ///   - lifetime: of its certificates, in seconds.
  func run(host: String, port: Int, further: [String], lifetime: TimeInterval) async throws {
    let certificate = try ServerCertificate(
      authority: authority, names: Self.names(namespace: namespace, clusterDomain: settings.clusterDomain) + further,
      lifetime: lifetime, logger: logger)
    let client = client
    let native = NativeSidecars(hasNativeSidecars ?? true)
    if hasNativeSidecars == nil { await ask(native) }
    let judge: WebhookServer.Judge = { request in
      var settings = settings
      settings.hasNativeSidecars = native.areKnown
      let admission = PodAdmission(settings: settings) { (resource, namespace, name) throws(KubernetesError) in
        try await client.object(resource, namespace: namespace, name: name)?["metadata"]
      }
      return try await admission.judge(request)
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        try await WebhookServer(certificate: certificate, judge: judge, logger: logger).run(host: host, port: port)
      }
      group.addTask { await keep(native) }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  /// Keeps the configuration's CA, and looks whether the server has been upgraded.
  private func keep(_ native: NativeSidecars) async {
    var last = ""
    while !Task.isCancelled {
      var problem = ""
      do throws(KubernetesError) {
        try await publish()
      } catch {
        problem = "the CA of the webhook configuration \(Self.configurationName) can't be kept: \(error)"
      }
      if problem != last, !problem.isEmpty { logger.error("\(problem)") }
      last = problem
      try? await Task.sleep(for: Self.interval)
      if hasNativeSidecars == nil { await ask(native) }
    }
  }

  /// Any replica may: what it writes is the same, and it writes nothing that is there.
  private func publish() async throws(KubernetesError) {
    let found = try await client.object(Self.configurations, name: Self.configurationName)
    guard let found, let patch = Self.patch(of: found, pem: authority.trustBundle.pem) else { return }
    try await client.apply(patch, as: Self.configurations, name: Self.configurationName, manager: ClusterNames.manager)
    logger.info("wrote the CA into the webhook configuration \(Self.configurationName)")
  }

  /// What is to be applied to the configuration; nil: nothing.
  static func patch(of configuration: JSONNode, pem: String) -> JSONNode? {
    let bundle = Data(pem.utf8).base64EncodedString()
    let webhooks = configuration["webhooks"]?.elements ?? []
    guard webhooks.contains(where: { $0["clientConfig"]?["caBundle"]?.text != bundle }) else { return nil }
    return [
      "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
      "metadata": ["name": .text(configurationName)],
      "webhooks": .array(
        webhooks.compactMap { webhook in
          webhook["name"].map { ["name": $0, "clientConfig": ["caBundle": .text(bundle)]] }
        }),
    ]
  }

  /// Before 1.29 init containers that stay aren't known: a pod with one would never start.
  private func ask(_ native: NativeSidecars) async {
    guard let version = try? await client.document("/version"), let knows = Self.hasNativeSidecars(version) else {
      return
    }
    guard native.areKnown != knows else { return }
    native.areKnown = knows
    logger.info("stubs are \(knows ? "native sidecars" : "ordinary containers, for a server before 1.29")")
  }

  /// - Parameter version: the document at `/version`; vendors write `minor` as `29+`. nil: it can't be told.
  static func hasNativeSidecars(_ version: JSONNode) -> Bool? {
    func number(_ name: String) -> Int? { version[name]?.text.flatMap { Int($0.prefix { $0.isNumber }) } }
    guard let major = number("major"), let minor = number("minor") else { return nil }
    return (major, minor) >= (1, 29)
  }
}

/// Whether the server knows init containers that stay.
private final class NativeSidecars: Sendable {
  private let value: Atomic<Bool>

  init(_ areKnown: Bool) { value = Atomic(areKnown) }

  var areKnown: Bool {
    get { value.load(ordering: .relaxed) }
    set { value.store(newValue, ordering: .relaxed) }
  }
}
