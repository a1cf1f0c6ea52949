/// What a kubelet's server needs of the node's containers. Called from threads that may wait.
protocol ContainerAccess: Sendable {
  /// A command inside a container: its namespaces, cgroup, files and environment; the streams are the server's.
  /// - Throws: `LabError` where there is no such container, it doesn't run, or there is no such program in it.
  func launch(_ command: [String], in container: ContainerName) throws -> any CommandLaunch

  /// The file that the container's output is appended to.
  /// - Throws: `LabError` where there is no such container.
  func log(of container: ContainerName) throws -> String

  /// Whether more may still be written to its log.
  func isRunning(_ container: ContainerName) -> Bool
}

/// A command that is about to be run, with the streams that it is given.
protocol CommandLaunch {
  /// -1 is /dev/null.
  var standardInput: Int32 { get set }
  var standardOutput: Int32 { get set }
  var standardError: Int32 { get set }

  /// - Returns: its pid, of a child of this process.
  func spawn() throws -> Int32
}

extension Launch: CommandLaunch {}

/// A command inside a running container.
struct ContainerCommand: CommandLaunch {
  let launch: ContainerLaunch
  let command: [String]
  let process: ProcessRecord
  var standardInput: Int32 = -1
  var standardOutput: Int32 = -1
  var standardError: Int32 = -1

  func spawn() throws -> Int32 {
    try launch.execute(
      command, in: process,
      ContainerLaunch.Streams(input: standardInput, output: standardOutput, error: standardError))
  }
}

/// The containers of one node of the lab.
struct NodeContainers: ContainerAccess {
  let node: String
  let table: ContainerTable

  func launch(_ command: [String], in container: ContainerName) throws -> any CommandLaunch {
    let entry = try entry(container)
    guard let process = entry.process, process.isRunning else { throw LabError("\(container) doesn't run") }
    return ContainerCommand(launch: entry.launch, command: command, process: process)
  }

  func log(of container: ContainerName) throws -> String { try entry(container).log }

  func isRunning(_ container: ContainerName) -> Bool { (try? entry(container))?.process?.isRunning == true }

  private func entry(_ container: ContainerName) throws -> ContainerTable.Entry {
    let name = container.container.isEmpty ? nil : container.container
    guard let entry = table.find(node: node, pod: container.pod, container: name) else {
      throw LabError("there is no \(container) on node \(node)")
    }
    return entry
  }
}
