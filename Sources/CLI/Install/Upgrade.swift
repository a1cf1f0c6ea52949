import ArgumentParser
import KubernetesAPI
import MeshModel

struct Upgrade: ResultCommand {
  static let configuration = CommandConfiguration(
    abstract: "Brings a cluster's Weft to this program's version, or to other settings.",
    discussion: """
      Keeps the overlay and the settings that it was installed with, under those given now. Shows what changes, replaces \
      the control planes, then the agents node by node, and removes what older versions had. It stops where a replica or an \
      agent doesn't become healthy: the others then stay as they are. A node that isn't ready counts as one, unless \
      agent.maxUnavailable allows more; it gets its agent once it is. --set takes:

      \(InstallOptions.settingsHelp)

      Exit status: 0 healthy, 1 refused or not healthy in time, 2 usage, 3 the API server isn't reachable.
      """)

  @OptionGroup var options: InstallOptions

  @Flag(help: "Shows what would change, and changes nothing.")
  var dryRun = false

  func execute() async throws -> CommandResult {
    let newer = try InstallValues(options.settings)
    return try await options.withCluster { cluster in
      guard let record = try await InstallRecord.read(cluster) else {
        throw Failure(message: "Weft isn't installed here: weft install does that.", status: .unhealthy)
      }
      let rendering = Rendering(
        overlay: options.overlay ?? record.overlay, values: record.values.merging(newer),
        server: try await cluster.version())
      let upgrader = Upgrader(cluster: cluster, rendering: rendering)
      let plan = try await upgrader.plan()
      let title = "\(record.version) to \(WeftVersion.current), \(rendering.overlay.rawValue)"
      let lines = plan.lines.isEmpty ? ["nothing changes"] : plan.lines
      cluster.progress.note(([Text.printable(title)] + lines.map { "  \($0)" }).joined(separator: "\n"))
      if dryRun { return CommandResult(text: "Nothing was changed.", status: .fine) }
      try await upgrader.carryOut(plan, timeout: .seconds(options.timeout))
      return CommandResult(text: "Weft \(WeftVersion.current) is healthy.", status: .fine)
    }
  }
}

/// Changes an installation, step by step.
struct Upgrader {
  struct Plan: Hashable, Sendable {
    var manifests: [Manifest]
    var changes: [Manifest.Identity: ManifestChange]
    var surplus: [Manifest.Identity]

    var lines: [String] {
      manifests.compactMap { manifest in changes[manifest.identity]?.line(manifest.identity) }
        + surplus.map { "removed  \($0)" }
    }
  }

  var cluster: InstallCluster
  var rendering: Rendering

  func plan() async throws -> Plan {
    let manifests = try rendering.manifests()
    var changes: [Manifest.Identity: ManifestChange] = [:]
    for manifest in manifests {
      let live = try await cluster.object(of: manifest)
      // The namespace of what is new may be missing itself.
      let applied = live == nil ? manifest.content : try await cluster.apply(manifest, isDry: true)
      changes[manifest.identity] = ManifestChange(live: live, applied: applied)
    }
    let found = try await Remover(cluster: cluster, server: rendering.server).found()
    return Plan(manifests: manifests, changes: changes, surplus: Pruning.surplus(of: found, wanted: manifests))
  }

  /// - Parameter timeout: of each stage, and of each agent.
  func carryOut(_ plan: Plan, timeout: Duration) async throws {
    if plan.surplus.contains(where: { $0.kind == .daemonSet && $0.name == "weft-agent" }) {
      // Before anything else: what the new installation allows in its namespace may not be what cleaning needs, and its
      // record says that no node has to be cleaned.
      try await NodeCleaner(cluster: cluster.again(timeout)).clean(rendering)
    }
    var applier = Applier(cluster: cluster.again(timeout), rendering: rendering)
    let agents = plan.manifests.filter { $0.identity.kind == .daemonSet }
    try await applier.apply(plan.manifests.filter { $0.identity.kind != .daemonSet })
    try await applier.waitForControl()
    if !agents.isEmpty {
      applier.cluster = cluster.again(timeout)
      try await applier.replaceAgents(agents, timeout: timeout)
    }
    for identity in plan.surplus {
      try await cluster.delete(identity.kind.resource(on: rendering.server), identity)
    }
    if !plan.surplus.isEmpty { cluster.progress.done("\(plan.surplus.count) objects of before are deleted") }
  }
}
