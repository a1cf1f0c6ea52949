import ArgumentParser
import Foundation
import KubernetesAPI

/// Which API server is meant: as kubectl has it.
struct KubeconfigOptions: ParsableArguments {
  @Option(
    help: "The kubeconfig file. Default: $KUBECONFIG, or ~/.kube/config; in a pod without either, its own account.")
  var kubeconfig: String?

  @Option(help: "The kubeconfig's context. Default: its current one.", completion: .custom(Completion.contexts))
  var context: String?

  /// Whether the arguments name a cluster.
  var isGiven: Bool { kubeconfig != nil || context != nil }

  /// - Throws: `Failure` of usage where no configuration is found, or it can't be used.
  func server(environment: [String: String] = ProcessInfo.processInfo.environment) throws -> APIServer {
    do throws(KubeconfigError) {
      guard let path = try path(environment) else { return try APIServer.inCluster(environment: environment) }
      return try Kubeconfig(path: path).server(context: context ?? "")
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

  /// nil: none is there, and this is a pod. Of `$KUBECONFIG`'s files the first that exists is taken; they aren't merged.
  private func path(_ environment: [String: String]) throws(KubeconfigError) -> String? {
    if let kubeconfig { return kubeconfig }
    let files = FileManager.default
    let named = (environment["KUBECONFIG"] ?? "").split(separator: ":").map(String.init)
    if let first = named.first { return named.first(where: files.fileExists) ?? first }
    let standard = (environment["HOME"] ?? "/root") + "/.kube/config"
    if files.fileExists(atPath: standard) || context != nil { return standard }
    return environment["KUBERNETES_SERVICE_HOST"] == nil ? standard : nil
  }
}

extension KubeconfigOptions {
  /// The file that is read where the arguments name none; nil: there is none.
  static func standardPath(_ environment: [String: String] = ProcessInfo.processInfo.environment) -> String? {
    let named = (environment["KUBECONFIG"] ?? "").split(separator: ":").map(String.init)
    let places = named.isEmpty ? [(environment["HOME"] ?? "/root") + "/.kube/config"] : named
    return places.first(where: FileManager.default.fileExists)
  }
}

/// A cluster, and a namespace of it.
struct ClusterOptions: ParsableArguments {
  @OptionGroup var kubeconfig: KubeconfigOptions

  @Option(name: [.customShort("n"), .long], help: "The namespace. Default: the context's.")
  var namespace: String?
}
