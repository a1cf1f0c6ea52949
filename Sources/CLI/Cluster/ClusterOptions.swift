import ArgumentParser
import Foundation
import KubernetesAPI

/// Which API server is meant: as kubectl has it.
struct KubeconfigOptions: ParsableArguments {
  @Option(
    help: """
      The kubeconfig file. Default: $KUBECONFIG's files, merged as kubectl does it, or ~/.kube/config; in a pod without \
      either, its own account.
      """)
  var kubeconfig: String?

  @Option(help: "The kubeconfig's context. Default: its current one.", completion: .custom(Completion.contexts))
  var context: String?

  /// Whether the arguments name a cluster.
  var isGiven: Bool { kubeconfig != nil || context != nil }

  /// - Throws: `Failure` of usage where no configuration is found, or it can't be used.
  func server(environment: [String: String] = ProcessInfo.processInfo.environment) throws -> APIServer {
    do throws(KubeconfigError) {
      guard let paths = paths(environment) else { return try APIServer.inCluster(environment: environment) }
      return try Kubeconfig(paths: paths).server(context: context ?? "")
    } catch {
      throw Failure(message: "\(error).", status: .usage)
    }
  }

  func client(environment: [String: String] = ProcessInfo.processInfo.environment) throws -> KubernetesClient {
    let server = try server(environment: environment)
    do throws(KubeconfigError) {
      return try KubernetesClient(server)
    } catch {
      throw Failure(message: "\(error).", status: .usage)
    }
  }

  /// What a client of that server is needed for; it is shut down afterwards, whatever came of it.
  func withClient<Result>(_ body: (KubernetesClient) async throws -> Result) async throws -> Result {
    let client = try client()
    do {
      let result = try await body(client)
      await client.shutdown()
      return result
    } catch {
      await client.shutdown()
      throw error
    }
  }

  /// nil: none is there, and this is a pod.
  private func paths(_ environment: [String: String]) -> [String]? {
    if let kubeconfig { return [kubeconfig] }
    let existing = Self.standardPaths(environment)
    guard existing.isEmpty else { return existing }
    // To be told that it isn't there.
    if let first = Self.named(environment).first { return [first] }
    guard context != nil || environment["KUBERNETES_SERVICE_HOST"] == nil else { return nil }
    return [Self.standard(environment)]
  }
}

extension KubeconfigOptions {
  /// The files that are read where the arguments name none: those of `$KUBECONFIG` that exist, or the standard one.
  static func standardPaths(_ environment: [String: String] = ProcessInfo.processInfo.environment) -> [String] {
    let places = named(environment)
    return (places.isEmpty ? [standard(environment)] : places).filter { FileManager.default.fileExists(atPath: $0) }
  }

  /// The first of these; nil: there is none.
  static func standardPath(_ environment: [String: String] = ProcessInfo.processInfo.environment) -> String? {
    standardPaths(environment).first
  }

  private static func named(_ environment: [String: String]) -> [String] {
    (environment["KUBECONFIG"] ?? "").split(separator: ":").map(String.init)
  }

  private static func standard(_ environment: [String: String]) -> String {
    (environment["HOME"] ?? "/root") + "/.kube/config"
  }
}

/// A cluster, and a namespace of it.
struct ClusterOptions: ParsableArguments {
  @OptionGroup var kubeconfig: KubeconfigOptions

  @Option(name: [.customShort("n"), .long], help: "The namespace. Default: the context's.")
  var namespace: String?
}
