import CLinux
import Foundation

/// A container's process: what it runs, and all that surrounds it.
struct ContainerLaunch: Sendable {
  struct Mount: Sendable, Equatable {
    var source: String
    var target: String
    var isRecursive = false
    var isReadOnly = false
  }

  /// The program first: a path in the container, or a name that is looked up in PATH.
  var arguments: [String]
  /// `NAME=value`
  var environment: [String]
  var directory = "/"
  var cgroup: String
  /// The path of its file.
  var networkNamespace: String
  /// The path of the node's, which the process is in first.
  var nodeNamespace: String
  /// The path of the pod's PID namespace; nil: its processes are seen among the machine's.
  var processNamespace: String?
  /// The empty folder that the root is mounted on, and its layers.
  var root: String
  /// The machine's own root, or an image's.
  var lower = "/"
  var upper: String
  var work: String
  var mounts: [Mount] = []
  var isRootReadOnly = false
  var hostname: String
  var user: UInt32 = 0
  var group: UInt32 = 0
  var groups: [UInt32] = []
  var capabilities = Capabilities.usual
  var hasNoNewPrivileges = false

  struct Streams: Sendable {
    /// -1 is /dev/null.
    var input: Int32 = -1
    var output: Int32 = -1
    var error: Int32 = -1
    /// Standard input is a terminal, and becomes the controlling one.
    var isTerminal = false
  }

  /// Starts the container's own process.
  /// - Returns: its pid; it is a child of this process.
  /// - Throws: `LabError` naming the step that failed.
  func start(_ streams: Streams) throws -> Int32 {
    try spawn(arguments, streams, joining: -1)
  }

  /// Runs another command inside the running container: its namespaces, cgroup, user, rights and environment.
  /// - Parameter process: the container's own.
  /// - Returns: the pid, of a child of this process.
  func execute(_ command: [String], in process: ProcessRecord, _ streams: Streams) throws -> Int32 {
    let handle = weft_pidfd_open(process.pid)
    guard handle >= 0, process.isRunning else { throw LabError("the container doesn't run") }
    defer { close(handle) }
    return try spawn(command, streams, joining: handle)
  }

  private func spawn(_ arguments: [String], _ streams: Streams, joining handle: Int32) throws -> Int32 {
    guard let program = arguments.first else { throw LabError("no command") }
    let namespace = open(networkNamespace, O_RDONLY | O_CLOEXEC)
    guard namespace >= 0 else { throw LabError("\(networkNamespace): can't be opened: \(Errno.text(errno))") }
    defer { close(namespace) }
    let node = open(nodeNamespace, O_RDONLY | O_CLOEXEC)
    guard node >= 0 else { throw LabError("\(nodeNamespace): can't be opened: \(Errno.text(errno))") }
    defer { close(node) }
    let processes = processNamespace.map { open($0, O_RDONLY | O_CLOEXEC) } ?? -1
    guard processNamespace == nil || processes >= 0 else {
      throw LabError("\(processNamespace ?? ""): can't be opened: \(Errno.text(errno))")
    }
    defer { if processes >= 0 { close(processes) } }
    let procs = open("\(cgroup)/cgroup.procs", O_WRONLY | O_CLOEXEC)
    guard procs >= 0 else { throw LabError("\(cgroup): can't be joined: \(Errno.text(errno))") }
    defer { close(procs) }
    var strings = CStrings()
    defer { strings.free() }
    let mounts = mounts.map {
      weft_container_mount(
        source: strings.add($0.source), target: strings.add($0.target), recursive: $0.isRecursive,
        read_only: $0.isReadOnly)
    }
    let argv = arguments.map { Optional(strings.add($0)) } + [nil]
    let envp = environment.map { Optional(strings.add($0)) } + [nil]
    let overlay = "lowerdir=\(lower),upperdir=\(upper),workdir=\(work)"
    var pid: pid_t = 0
    var step: UnsafePointer<CChar>?
    let error = mounts.withUnsafeBufferPointer { mounts in
      argv.withUnsafeBufferPointer { argv in
        envp.withUnsafeBufferPointer { envp in
          groups.withUnsafeBufferPointer { groups in
            var container = weft_container(
              path: strings.add(program), argv: argv.baseAddress, envp: envp.baseAddress,
              directory: strings.add(directory), cgroup_procs: procs, node_namespace: node,
              network_namespace: namespace, process_namespace: processes, joined: handle,
              root: strings.add(root), overlay: strings.add(overlay), mounts: mounts.baseAddress,
              mount_count: mounts.count, read_only_root: isRootReadOnly, hostname: strings.add(hostname),
              standard_input: streams.input, standard_output: streams.output, standard_error: streams.error,
              terminal: streams.isTerminal, user: user, group: group, groups: groups.baseAddress,
              group_count: groups.count, capabilities: capabilities, no_new_privileges: hasNoNewPrivileges)
            return weft_container_spawn(&container, &pid, &step)
          }
        }
      }
    }
    guard error == 0 else {
      let what = step.map { String(cString: $0) } ?? "starting"
      throw LabError("\(program): \(what) failed: \(Errno.text(error))")
    }
    return pid
  }
}

/// Copies of strings for C, freed together.
private struct CStrings {
  private var pointers: [UnsafeMutablePointer<CChar>] = []

  mutating func add(_ text: String) -> UnsafeMutablePointer<CChar> {
    // Out of memory there is nothing to go on with.
    let pointer = strdup(text)!
    pointers.append(pointer)
    return pointer
  }

  func free() { pointers.forEach { Foundation.free($0) } }
}
