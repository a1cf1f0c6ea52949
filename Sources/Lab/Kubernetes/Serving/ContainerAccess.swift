/// What a kubelet's server needs of the node's containers. Called from threads that may wait.
protocol ContainerAccess: Sendable {
  /// A command inside a container: its namespaces, cgroup, files and environment; the streams are the server's.
  /// - Throws: `LabError` where there is no such container, it doesn't run, or there is no such program in it.
  func launch(_ command: [String], in container: ContainerName) throws -> Launch

  /// The file that the container's output is appended to.
  /// - Throws: `LabError` where there is no such container.
  func log(of container: ContainerName) throws -> String

  /// Whether more may still be written to its log.
  func isRunning(_ container: ContainerName) -> Bool
}
