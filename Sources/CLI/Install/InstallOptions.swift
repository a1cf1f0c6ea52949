import ArgumentParser

extension Overlay: ExpressibleByArgument {}

/// What install and upgrade have in common.
struct InstallOptions: ParsableArguments {
  @OptionGroup var kubeconfig: KubeconfigOptions

  @Option(name: .customLong("set"), help: "NAME=VALUE, once for each: --help lists them.")
  var settings: [String] = []

  @Option(help: "standard: two control planes; small: one; high-availability: three; stub-only: no agents on nodes.")
  var overlay: Overlay?

  @Flag(help: "Prints the objects as YAML for kubectl apply -f -, and changes nothing.")
  var dryRun = false

  @Option(help: "With --dry-run, for a server of this version such as 1.31. Default: the cluster's, if there is one.")
  var kubernetesVersion: String?

  @Option(help: "Seconds until it has to be healthy, 1 to 86400.")
  var timeout = 300

  func validate() throws {
    guard 1...86_400 ~= timeout else { throw ValidationError("--timeout \(timeout): give 1 to 86400 seconds") }
    if let kubernetesVersion {
      guard dryRun else { throw ValidationError("--kubernetes-version is for --dry-run: a cluster says its own") }
      guard let version = ServerVersion(kubernetesVersion), version >= .oldest else {
        throw ValidationError("--kubernetes-version \(kubernetesVersion): give \(ServerVersion.oldest) or newer")
      }
    }
  }

  /// One line for each setting.
  static var settingsHelp: String {
    let width = InstallSetting.all.map(\.name.count).max() ?? 0
    return InstallSetting.all.map { setting in
      "  \(setting.name)\(String(repeating: " ", count: width + 2 - setting.name.count))\(setting.meaning)"
    }.joined(separator: "\n")
  }

  func cluster() throws -> InstallCluster {
    InstallCluster(
      client: try kubeconfig.client(), progress: Progress(Style.ofProcess()), timeout: .seconds(timeout))
  }

  /// Where none is named, and none is reachable, today's Kubernetes is meant.
  func versionForPrinting() async throws -> ServerVersion {
    if let kubernetesVersion, let version = ServerVersion(kubernetesVersion) { return version }
    guard kubeconfig.isGiven else { return await reachableVersion() ?? .current }
    let cluster = try cluster()
    let version = try await cluster.version()
    await cluster.client.shutdown()
    return version
  }

  private func reachableVersion() async -> ServerVersion? {
    guard let cluster = try? cluster() else { return nil }
    let version = try? await cluster.version()
    await cluster.client.shutdown()
    return version
  }
}
