import Foundation

/// Removes everything that bears a lab's name, whether or not a record of it can be read.
enum Teardown {
  /// - Throws: `LabError` naming what couldn't be removed; everything else is removed all the same.
  static func remove(_ layout: Layout) throws {
    var failures: [String] = []
    func attempt(_ body: () throws -> Void) {
      do { try body() } catch { failures.append("\(error)") }
    }
    // Processes first, of them those that the record names and that left their cgroup; then what they held.
    attempt { try Cgroup.killAll(layout.cgroup) }
    if let state = try? LabState.load(layout) {
      for record in state.processes {
        record.signal(SIGKILL)
        _ = record.waitForEnd(seconds: 2)
      }
    }
    attempt { try Files.removeTree(layout.bpf) }
    for namespace in NetworkNamespace.all() where layout.owns(namespace: namespace) {
      attempt { try NetworkNamespace.remove(namespace) }
    }
    attempt { try Cgroup.remove(layout.cgroup) }
    // Not there without Kubernetes, or in another mount namespace.
    umount2(layout.podsMount, Int32(MNT_DETACH))
    attempt { try Files.removeTree(layout.run) }
    // The last lab takes the common folders with it; they stay where another lab is in them.
    rmdir(layout.labsCgroup)
    rmdir(Layout.labsBPF)
    guard failures.isEmpty else { throw LabError(failures.joined(separator: "\n")) }
  }

  /// Whether anything of this lab is left.
  static func hasTraces(_ layout: Layout) -> Bool {
    Files.exists(layout.run) || Files.exists(layout.cgroup) || Files.exists(layout.bpf)
      || NetworkNamespace.all().contains { layout.owns(namespace: $0) }
  }
}

extension LabState {
  /// Every process on record.
  var processes: [ProcessRecord] {
    [control].compactMap { $0 } + Array(cluster?.processes.values ?? [:].values) + nodes.compactMap(\.agent)
      + pods.flatMap { $0.containers.map(\.process) }
  }
}
