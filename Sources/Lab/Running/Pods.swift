import Foundation

/// Pods: their folders and cgroups, and the processes of their containers.
extension LabMaker {
  /// How long a container may take until its declared ports listen.
  static let listenSeconds = 15.0

  func makeFolders(of pods: [LabState.Pod]) throws {
    try Files.makeFolder(layout.podLogs)
    for pod in pods {
      try Cgroup.make(pod.cgroup)
      // Pods may run programs that change their user (nginx): the data folder is anyone's.
      try Files.makeFolder(layout.podData(pod.id))
      chmod(layout.podData(pod.id), 0o1777)
      let domains = ["\(pod.id.namespace).svc.cluster.local", "svc.cluster.local", "cluster.local"]
      try Files.writeAtomically(
        "nameserver \(AddressPlan.dnsServer)\nsearch \(domains.joined(separator: " "))\noptions ndots:5\n",
        to: layout.podResolvConf(pod.id))
      try Files.writeAtomically(hosts(of: pod), to: layout.podHosts(pod.id))
    }
  }

  /// The file that a kubelet writes, and a name for the unspecified addresses: servers look up the name of what they
  /// bind to (Python's http.server does), and would wait for a DNS server that isn't there.
  private func hosts(of pod: LabState.Pod) -> String {
    let lines =
      ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback", "0.0.0.0\tany-address", "::\tany-address"]
      + pod.addresses.map { "\($0)\t\(pod.hostname)" }
    return lines.joined(separator: "\n") + "\n"
  }

  /// Tells the node's agent of a pod's sandbox.
  func announce(_ pod: LabState.Pod) throws {
    struct Sandbox: Encodable {
      let uid, namespace, name, netns, cgroup: String
      let addresses: [String]
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let sandbox = Sandbox(
      uid: pod.id.description, namespace: pod.id.namespace, name: pod.id.name,
      netns: layout.namespacePath(pod.networkNamespace), cgroup: pod.cgroup, addresses: pod.addresses)
    try Files.makeFolder(layout.agentPods(pod.node))
    try Files.writeAtomically(
      [UInt8](try encoder.encode(sandbox)), to: "\(layout.agentPods(pod.node))/\(pod.id.fileName).json")
  }

  func withdraw(_ pod: LabState.Pod) throws {
    try Files.removeTree("\(layout.agentPods(pod.node))/\(pod.id.fileName).json")
  }

  /// Starts the containers of `ids` and waits until their declared ports listen.
  mutating func startContainers(of ids: [PodName]) throws {
    for id in ids {
      guard let index = state.pods.firstIndex(where: { $0.id == id }), let manifest = manifest(of: id) else { continue }
      for container in manifest.containers {
        let process = try start(container, of: manifest, in: state.pods[index])
        state.pods[index].containers.append(LabState.Container(name: container.name, process: process))
      }
    }
    try save()
    try waitForPorts(of: ids)
  }

  private func manifest(of id: PodName) -> PodManifest? {
    input.pods[Manifest.Key(id)]
  }

  private func start(
    _ container: PodManifest.Container, of manifest: PodManifest, in pod: LabState.Pod
  ) throws -> ProcessRecord {
    let environment = ContainerEnvironment(
      layout: layout, state: state, pod: pod, manifest: manifest, container: container)
    let command = container.command.map(environment.expand)
    var directory = container.workingDirectory.map(environment.expand) ?? state.directory
    if !directory.hasPrefix("/") { directory = "\(state.directory)/\(directory)" }
    guard let path = Commands.find(command[0], searchPath: environment.searchPath, directory: directory) else {
      throw LabError("pod \(pod.id): \"\(command[0])\" is no program on this machine")
    }
    let log = open(layout.podLog(pod.id), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard log >= 0 else { throw LabError("\(layout.podLog(pod.id)): can't be written: \(Errno.text(errno))") }
    defer { close(log) }
    var launch = Launch(path: path, arguments: Array(command.dropFirst()), environment: environment.list)
    launch.directory = directory
    launch.networkNamespace = layout.namespacePath(pod.networkNamespace)
    launch.cgroup = pod.cgroup
    launch.binds = layout.podBinds(pod.id)
    launch.hostname = pod.hostname
    launch.standardOutput = log
    launch.standardError = log
    do {
      let pid = try launch.spawn()
      guard let record = ProcessRecord(pid: pid) else { throw LabError("it ended at once") }
      return record
    } catch {
      throw LabError("pod \(pod.id), container \(container.name): \(error)")
    }
  }

  private func waitForPorts(of ids: [PodName]) throws {
    var waiting: [(pod: LabState.Pod, container: PodManifest.Container, process: ProcessRecord)] = []
    for id in ids {
      guard let pod = state.pods.first(where: { $0.id == id }), let manifest = manifest(of: id) else { continue }
      for (container, started) in zip(manifest.containers, pod.containers) where !container.ports.isEmpty {
        waiting.append((pod, container, started.process))
      }
    }
    let allListen = try Waiting.poll(seconds: Self.listenSeconds) {
      waiting = try waiting.filter { entry in
        if let status = entry.process.reap() {
          throw failure(entry.pod, "container \(entry.container.name) \(status) before it listened")
        }
        let ports = ListeningPorts(pid: entry.process.pid)
        return !entry.container.ports.allSatisfy { ports.contains($0) }
      }
      return waiting.isEmpty
    }
    guard !allListen, let entry = waiting.first else { return }
    let ports = ListeningPorts(pid: entry.process.pid)
    let missing = entry.container.ports.filter { !ports.contains($0) }
    let list = missing.map { "\($0.number)/\($0.isUDP ? "UDP" : "TCP")" }.joined(separator: ", ")
    throw failure(
      entry.pod,
      "container \(entry.container.name) doesn't listen on \(list) after \(Int(Self.listenSeconds)) s;"
        + " correct its ports, or its command")
  }

  private func failure(_ pod: LabState.Pod, _ what: String) -> LabError {
    LabError.withLog("pod \(pod.id): \(what)", log: layout.podLog(pod.id))
  }
}

extension LabError {
  /// The message followed by the end of the log that explains it.
  static func withLog(_ message: String, log: String) -> LabError {
    let tail = Files.tail(log)
    return LabError(tail.isEmpty ? "\(message) (its log is empty)" : "\(message). The end of its log:\n\(tail)")
  }
}
