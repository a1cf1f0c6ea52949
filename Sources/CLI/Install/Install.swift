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

  @Flag(help: "Prints the objects as YAML for kubectl apply -f -, and changes nothing.")
  var dryRun = false

  @Option(help: "With --dry-run, for a server of this version such as 1.31. Default: the cluster's, if there is one.")
  var kubernetesVersion: String?

  func validate() throws {
    guard let kubernetesVersion else { return }
    guard dryRun else { throw ValidationError("--kubernetes-version is for --dry-run: a cluster says its own") }
    guard let version = ServerVersion(kubernetesVersion), version >= .oldest else {
      throw ValidationError("--kubernetes-version \(kubernetesVersion): give \(ServerVersion.oldest) or newer")
    }
  }

  func execute() async throws -> CommandResult {
    let rendering = Rendering(
      overlay: options.overlay ?? .standard, values: try InstallValues(options.settings))
    guard !dryRun else {
      var rendering = rendering
      if let kubernetesVersion, let version = ServerVersion(kubernetesVersion) {
        rendering.server = version
      } else {
        rendering.server = try await options.versionForPrinting()
      }
      return CommandResult(text: try rendering.yaml(), status: .fine)
    }
    try await options.withCluster { try await install(rendering, $0) }
    return CommandResult(
      text: "Weft \(WeftVersion.current) is installed. A namespace joins the mesh by its label: "
        + "kubectl label namespace NAME weft.dev/mesh=enabled", status: .fine)
  }

  private func install(_ rendering: Rendering, _ cluster: InstallCluster) async throws {
    var rendering = rendering
    rendering.server = try await cluster.version()
    if let record = try await InstallRecord.read(cluster) {
      guard record.version == WeftVersion.current else {
        throw Failure(
          message: "Weft \(Text.printable(record.version)) is installed here: weft upgrade changes it.",
          status: .unhealthy)
      }
      let overlay = rendering.overlay
      guard record.overlay == overlay else {
        throw Failure(
          message: "Weft is installed here as \(record.overlay.rawValue): "
            + "weft upgrade --overlay \(overlay.rawValue) changes it.", status: .unhealthy)
      }
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
