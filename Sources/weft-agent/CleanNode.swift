import AgentCore
import ArgumentParser
import Capture
import Foundation

/// `weft-agent clean`: leaves a node as if there had never been an agent.
struct CleanNode: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "clean", abstract: "Remove every pin, cgroup, socket and file that an agent has left on this node.")

  @Option(help: "Where certificates and the last good snapshot are kept.")
  var stateDir = "/var/lib/weft"
  @Option(help: "Where agent.sock and proxy.sock are made.")
  var runDir = "/run/weft"
  @Option(help: "The agent's folder on a BPF file system.")
  var bpffs = "/sys/fs/bpf/weft"
  @Option(help: "The agent's cgroup.")
  var cgroup = "/sys/fs/cgroup/weft/agent"
  @Option(help: "The proxy's cgroup.")
  var proxyCgroup = "/sys/fs/cgroup/weft/proxy"
  @Option(help: "The user that the proxy runs as.")
  var proxyUid: UInt32 = 61337

  func validate() throws {
    guard proxyUid > 0 else { throw ValidationError("--proxy-uid 0: the proxy never runs as root") }
  }

  func run() async throws {
    var cgroups = [proxyCgroup, cgroup]
    // The folder above both is the mesh's own in Kubernetes.
    let parent = URL(fileURLWithPath: cgroup).deletingLastPathComponent()
    if parent.lastPathComponent == "weft" { cgroups.append(parent.path) }
    let cleanup = NodeCleanup(
      bpffsDirectory: bpffs, runDirectory: runDir, stateDirectory: stateDir, cgroups: cgroups, proxyCgroup: proxyCgroup,
      proxyUID: proxyUid)
    do {
      let left = try cleanup.run()
      guard left.isEmpty else { throw AgentError("not removed: \(left.joined(separator: "; "))") }
      print("nothing of the mesh is left on this node")
    } catch {
      FileHandle.standardError.write(Data("weft-agent: \(error)\n".utf8))
      throw ExitCode(1)
    }
  }
}
