import ArgumentParser
import MeshModel

struct Install: ResultCommand {
  static let configuration = CommandConfiguration(
    abstract: "Installs Weft into a cluster, and waits until it is healthy.",
    discussion: """
      Applies deploy/ (server-side, as field manager \(Rendering.manager)) into the namespace \(Rendering.namespace). What \
      --set takes:

      \(InstallOptions.settingsHelp)

      Exit status: 0 healthy, 1 refused or not healthy in time, 2 usage, 3 the API server isn't reachable.
      """)

  @OptionGroup var options: InstallOptions

  func execute() async throws -> CommandResult {
    let rendering = Rendering(
      overlay: options.overlay ?? .standard, values: try InstallValues(options.settings))
    guard !options.dryRun else {
      var rendering = rendering
      rendering.server = try await options.versionForPrinting()
      return CommandResult(text: try rendering.yaml(), status: .fine)
    }
    let cluster = try options.cluster()
    do {
      try await install(rendering, cluster)
    } catch {
      await cluster.client.shutdown()
      throw error
    }
    await cluster.client.shutdown()
    return CommandResult(
      text: "Weft \(WeftVersion.current) is installed. A namespace joins the mesh by its label: "
        + "kubectl label namespace NAME weft.dev/mesh=enabled", status: .fine)
  }

  private func install(_ rendering: Rendering, _ cluster: InstallCluster) async throws {
    var rendering = rendering
    rendering.server = try await cluster.version()
    if let record = try await InstallRecord.read(cluster), record.version != WeftVersion.current {
      throw Failure(
        message: "Weft \(Text.printable(record.version)) is installed here: weft upgrade changes it.",
        status: .unhealthy)
    }
    cluster.progress.note(
      "weft \(WeftVersion.current), \(rendering.overlay.rawValue), on Kubernetes \(rendering.server) "
        + "at \(cluster.client.server.url)")
    let applier = Applier(cluster: cluster, rendering: rendering)
    try await applier.apply(try rendering.manifests())
    try await applier.waitForControl()
    try await applier.waitForAgents()
  }
}
