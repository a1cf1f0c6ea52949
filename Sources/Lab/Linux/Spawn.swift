import CLinux
import Foundation

/// A program to run, and where: namespaces, cgroup, streams.
struct Launch {
  var path: String
  var arguments: [String]
  var environment: [String]
  var directory: String?
  /// The path of a network namespace's file.
  var networkNamespace: String?
  /// The path of the node's, which the process of a pod is in first.
  var nodeNamespace: String?
  var cgroup: String?
  /// Files of its own in a mount namespace of its own: each is bound over the machine's.
  var binds: [(source: String, target: String)] = []
  var hostname: String?
  /// -1 is /dev/null.
  var standardInput: Int32 = -1
  var standardOutput: Int32 = -1
  var standardError: Int32 = -1
  var isDaemon = true
  /// The signal that the process gets when the thread that started it ends.
  var parentDeathSignal: Int32 = 0
  var withoutPrivileges = false
  /// It is process 1 of a PID namespace of its own.
  var hasOwnProcesses = false

  /// - Parameters:
  ///   - arguments: without the program's name.
  ///   - environment: `NAME=value`.
  init(path: String, arguments: [String], environment: [String]) {
    self.path = path
    self.arguments = arguments
    self.environment = environment
  }

  /// Starts the program.
  /// - Throws: `LabError` naming the program and the step that failed.
  func spawn() throws -> Int32 {
    var pid: pid_t = 0
    var step: UnsafePointer<CChar>?
    let error = try withProcess { process in weft_lab_spawn(process, &pid, &step) }
    guard error == 0 else { throw failure(step, error) }
    return pid
  }

  /// Becomes the program; returns never but by throwing.
  func execute() throws -> Never {
    var step: UnsafePointer<CChar>?
    let error = try withProcess { process in weft_lab_exec(process, &step) }
    throw failure(step, error)
  }

  private func failure(_ step: UnsafePointer<CChar>?, _ error: Int32) -> LabError {
    LabError("\(path): \(step.map { String(cString: $0) } ?? "starting") failed: \(Errno.text(error))")
  }

  private func withProcess<T>(_ body: (UnsafePointer<weft_lab_process>) -> T) throws -> T {
    let namespace = try networkNamespace.map { try Self.open($0, O_RDONLY) } ?? -1
    defer { if namespace >= 0 { close(namespace) } }
    let node = try nodeNamespace.map { try Self.open($0, O_RDONLY) } ?? -1
    defer { if node >= 0 { close(node) } }
    let procs = try cgroup.map { try Self.open("\($0)/cgroup.procs", O_WRONLY) } ?? -1
    defer { if procs >= 0 { close(procs) } }
    return withStrings([path] + arguments) { argv in
      withStrings(environment) { envp in
        withOptional(directory) { directory in
          withBinds { binds in
            withOptional(hostname) { hostname in
              path.withCString { path in
                var process = weft_lab_process(
                  path: path, argv: argv, envp: envp, directory: directory, network_namespace: namespace,
                  node_namespace: node, cgroup_procs: procs, binds: binds, hostname: hostname,
                  standard_input: standardInput,
                  standard_output: standardOutput, standard_error: standardError, new_session: isDaemon,
                  new_process_namespace: hasOwnProcesses,
                  parent_death_signal: parentDeathSignal, user: 0, without_privileges: withoutPrivileges)
                return body(&process)
              }
            }
          }
        }
      }
    }
  }

  private func withBinds<T>(_ body: (UnsafePointer<weft_lab_bind>) -> T) -> T {
    // The file itself is bound over: through a link the mount would stand elsewhere.
    let strings = binds.map { (strdup($0.source), realpath($0.target, nil) ?? strdup($0.target)) }
    defer {
      for (source, target) in strings {
        free(source)
        free(target)
      }
    }
    let list = strings.map { weft_lab_bind(source: $0.0, target: $0.1) } + [weft_lab_bind()]
    return list.withUnsafeBufferPointer { buffer in
      // Never empty: the terminator is there.
      body(buffer.baseAddress!)
    }
  }

  private static func open(_ path: String, _ flags: Int32) throws -> Int32 {
    let descriptor = Foundation.open(path, flags | O_CLOEXEC)
    guard descriptor >= 0 else { throw LabError("\(path): can't be opened: \(Errno.text(errno))") }
    return descriptor
  }
}

private func withOptional<T>(_ text: String?, _ body: (UnsafePointer<CChar>?) -> T) -> T {
  guard let text else { return body(nil) }
  return text.withCString { body($0) }
}

/// The strings as a NULL-terminated array of C strings.
private func withStrings<T>(_ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> T) -> T {
  var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
  pointers.append(nil)
  defer { pointers.forEach { free($0) } }
  return pointers.withUnsafeBufferPointer { buffer in
    // Never empty: the terminator is there.
    body(buffer.baseAddress!)
  }
}
