import Foundation

/// Simulated nodes and pods, made of network namespaces, veth and cgroups out of Kubernetes YAML.
public enum Lab {
  /// Removes a lab and everything that a crashed one left.
  /// - Returns: false where there was nothing to remove.
  public static func down(_ name: LabName) throws -> Bool {
    try LabMaker.checkMachine()
    let layout = Layout(name: name, cgroupRoot: try Cgroup.mountPoint())
    let isThere = Teardown.hasTraces(layout)
    let lock = try LabLock(layout)
    try Teardown.remove(layout)
    lock.removeFile()
    rmdir(Layout.runRoot)
    return isThere
  }

  /// The record of a lab.
  public static func state(_ name: LabName) throws -> LabState {
    try LabState.load(try layout(name))
  }

  static func layout(_ name: LabName) throws -> Layout {
    Layout(name: name, cgroupRoot: try Cgroup.mountPoint())
  }

  /// The names of all labs, whole or broken.
  public static func names() throws -> [LabName] {
    let cgroups = try Cgroup.children("\(Cgroup.mountPoint())/weft-lab").map { $0.split(separator: "/").last ?? "" }
    let folders = Files.names(in: Layout.runRoot).filter { Files.isFolder("\(Layout.runRoot)/\($0)") }
    return Set((cgroups.map(String.init) + folders).compactMap { LabName($0) }).sorted()
  }
}
