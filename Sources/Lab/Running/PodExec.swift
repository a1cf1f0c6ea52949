import Foundation

extension Lab {
  /// How `weft-lab exec` ends where the command never ran (the convention of `docker exec`).
  public static let exitNotEntered: Int32 = 125
  public static let exitNotFound: Int32 = 127

  /// Becomes `command` inside a pod: its network namespace, cgroup, resolv.conf and host name, and the environment
  /// of its first container. The caller's streams, terminal, signals and working folder stay, so that the exit
  /// status, or the signal that ended the command, reaches the caller unchanged.
  /// - Throws: `LabError`; returns never otherwise.
  public static func exec(_ name: LabName, pod: String, namespace: String?, command: [String]) throws -> Never {
    let layout = try layout(name)
    let state = try LabState.load(layout)
    let pod = try state.pod(pod, namespace: namespace)
    if state.cluster != nil { try enter(pod, command: command) }
    let environment = try podEnvironment(layout, state, pod)
    var values = ProcessInfo.processInfo.environment
    values.merge(environment.values) { $1 }
    values["PATH"] = Commands.searchPath
    let directory = FileManager.default.currentDirectoryPath
    guard let program = command.first else { throw LabError("no command: weft-lab exec POD -- COMMAND…") }
    guard let path = Commands.find(program, searchPath: environment.values["PATH"] ?? "", directory: directory) else {
      throw CommandNotFound(program: program)
    }
    var launch = Launch(
      path: path, arguments: Array(command.dropFirst()), environment: values.map { "\($0.key)=\($0.value)" })
    launch.networkNamespace = layout.namespacePath(pod.networkNamespace)
    launch.cgroup = pod.cgroup
    launch.binds = layout.podBinds(pod.id)
    launch.hostname = pod.hostname
    try launch.execute()
  }

  /// Becomes `command` in the namespaces, cgroup and environment of the container that the pod names for that, or of its
  /// first that runs.
  private static func enter(_ pod: LabState.Pod, command: [String]) throws -> Never {
    let running = pod.containers.filter(\.process.isRunning)
    guard let process = (running.first { $0.name == pod.defaultContainer } ?? running.first)?.process else {
      throw LabError("no container of pod \(pod.id) runs")
    }
    guard let path = Commands.find("nsenter", searchPath: Commands.searchPath, directory: "/") else {
      throw LabError("nsenter isn't on this machine; install util-linux")
    }
    let variables = (Files.text("/proc/\(process.pid)/environ") ?? "").split(separator: "\0").map(String.init)
    var launch = Launch(
      path: path, arguments: ["-t", "\(process.pid)", "-m", "-n", "-u", "--"] + command, environment: variables)
    launch.cgroup = try Cgroup.own(of: process.pid)
    try launch.execute()
  }

  public struct CommandNotFound: Error, CustomStringConvertible {
    public let program: String
    public var description: String { "\"\(program)\" is no program on this machine" }
  }

  private static func podEnvironment(
    _ layout: Layout, _ state: LabState, _ pod: LabState.Pod
  ) throws -> ContainerEnvironment {
    let manifests = try ManifestFiles.readFile("\(layout.config)/\(Manifest.Key(pod.id).fileName)")
    guard let manifest = try manifests.first.map(PodManifest.init), let container = manifest.containers.first else {
      throw LabError("pod \(pod.id) has no object in \(layout.config); remove the lab and make it again")
    }
    return ContainerEnvironment(layout: layout, state: state, pod: pod, manifest: manifest, container: container)
  }
}

extension Manifest.Key {
  init(_ pod: PodName) {
    self.init(kind: "Pod", namespace: pod.namespace, name: pod.name)
  }
}
