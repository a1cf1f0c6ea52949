import ArgumentParser

extension Overlay: ExpressibleByArgument {}

/// What install and upgrade have in common.
struct InstallOptions: ParsableArguments {
  @OptionGroup var kubeconfig: KubeconfigOptions

  @Option(name: .customLong("set"), help: "NAME=VALUE, once for each: --help lists them.")
  var settings: [String] = []

  @Option(help: "standard: two control planes; small: one; high-availability: three; stub-only: no agents on nodes.")
  var overlay: Overlay?

  @Option(help: "Seconds until it has to be healthy, 1 to 86400.")
  var timeout = 300

  func validate() throws {
    guard 1...86_400 ~= timeout else { throw ValidationError("--timeout \(timeout): give 1 to 86400 seconds") }
  }

  /// One line for each setting.
  static var settingsHelp: String {
    let width = InstallSetting.all.map(\.name.count).max() ?? 0
    return InstallSetting.all.map { setting in
      "  \(setting.name)\(String(repeating: " ", count: width + 2 - setting.name.count))\(setting.meaning)"
    }.joined(separator: "\n")
  }

  func withCluster<Value>(_ body: (InstallCluster) async throws -> Value) async throws -> Value {
    try await kubeconfig.withCluster(timeout: .seconds(timeout), body)
  }

  /// The cluster's version where one is reachable; today's where none is, and none is named.
  func versionForPrinting() async throws -> ServerVersion {
    guard !kubeconfig.isGiven else { return try await withCluster { try await $0.version() } }
    return (try? await withCluster { try await $0.version() }) ?? .current
  }
}

extension KubeconfigOptions {
  /// Calls `body` with the cluster, and ends the connections after it.
  func withCluster<Value>(
    timeout: Duration, _ body: (InstallCluster) async throws -> Value
  ) async throws -> Value {
    let cluster = InstallCluster(client: try client(), progress: Progress(Style.ofProcess()), timeout: timeout)
    do {
      let value = try await body(cluster)
      await cluster.client.shutdown()
      return value
    } catch {
      await cluster.client.shutdown()
      throw error
    }
  }
}
