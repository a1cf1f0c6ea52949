import CLinux
import Foundation
import KubernetesAPI

/// Puts a container together: its root, mounts, rights, environment and command.
struct ContainerMaker: Sendable {
  let context: KubeletContext
  let spec: PodSpec
  let sandbox: Sandbox
  let volumes: PodVolumes

  /// Why a container can't be started, as its status says it.
  struct Problem: Error, CustomStringConvertible {
    var reason: String
    var message: String
    var description: String { message }
  }

  /// Where a container finds the project's programs, whoever may enter the folder that they really are in.
  static let programs = "/opt/weft/bin"
  private static let imagePrograms = ["weft-agent", "weft-proxy", "weft-control", "weft-stub"]
  private static let devices = ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm"]

  /// - Throws: `Problem`.
  func make(_ container: ContainerSpec, id: String, services: [ServiceView]) throws -> ContainerLaunch {
    let image = context.images.image(container.image)
    let variables: ContainerVariables
    do {
      variables = try ContainerVariables(container, base: base(image), input: input(services))
    } catch {
      throw Problem(reason: "CreateContainerConfigError", message: "\(error)")
    }
    let command = container.command.map(variables.expand)
    let args = container.args.map(variables.expand)
    let arguments =
      image?.arguments(command: command, args: args)
      ?? context.images.arguments(container.image, command: command, args: args) { name in
        access("\(Programs.directory)/\(name)", X_OK) == 0
      }
    guard let arguments, !arguments.isEmpty else {
      throw Problem(
        reason: "ErrImagePull",
        message: "image \"\(container.image)\" is no program beside weft-lab, isn't in \(ClusterInput.imagesFile), and"
          + " the container names no command")
    }
    let folder = "\(context.layout.podFolder(uid: spec.uid))/containers/\(id)"
    var launch = ContainerLaunch(
      arguments: arguments, environment: variables.list,
      cgroup: "\(sandbox.cgroup)/\(sandbox.names.leaf(id))",
      networkNamespace: context.layout.namespacePath(sandbox.networkNamespace),
      nodeNamespace: context.layout.namespacePath(sandbox.node.networkNamespace), root: "\(folder)/root",
      upper: "\(folder)/upper", work: "\(folder)/work", hostname: spec.hostname)
    if spec.sharesProcesses, let pause = sandbox.pause { launch.processNamespace = "/proc/\(pause.pid)/ns/pid" }
    if let image {
      launch.lower = image.root
      if !image.directory.isEmpty { launch.directory = image.directory }
    }
    if let directory = container.directory, !directory.isEmpty { launch.directory = directory }
    do {
      try makeFolders(launch, isImage: image != nil)
      launch.mounts = try mounts(container, folder: folder, isImage: image != nil)
    } catch {
      throw Problem(reason: "CreateContainerError", message: "\(error)")
    }
    applySecurity(container, image: image, to: &launch)
    return launch
  }

  private func base(_ image: OCIImage?) -> [String: String] {
    var values: [String: String] = [:]
    if let image {
      values["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
      values["HOSTNAME"] = spec.hostname
      values["HOME"] = "/"
      for variable in image.environment {
        let parts = variable.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        if parts.count == 2 { values[parts[0]] = parts[1] }
      }
      return values
    }
    let machine = ProcessInfo.processInfo.environment
    for name in ["LANG", "LC_ALL", "TZ"] { values[name] = machine[name] }
    values["PATH"] = "\(Self.programs):/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    values["HOSTNAME"] = spec.hostname
    values["HOME"] = "/root"
    values["LAB_DIR"] = context.state.directory
    // In an image it lies beside the agent.
    if let object = Self.bpfObject { values["WEFT_BPF_OBJECT"] = object }
    return values
  }

  /// The compiled eBPF programs, of a build that lies elsewhere.
  private static let bpfSource: String? = {
    let here = Programs.directory
    let candidates = [
      ProcessInfo.processInfo.environment["WEFT_BPF_OBJECT"], "\(here)/weft.bpf.o",
      "\(here)/../../bpf/build/weft.bpf.o",
      "\(here)/../../../bpf/build/weft.bpf.o",
    ]
    return candidates.compactMap { $0 }.first { access($0, R_OK) == 0 }
  }()
  private static let bpfObject = bpfSource == nil ? nil : "/opt/weft/weft.bpf.o"

  private func input(_ services: [ServiceView]) -> ContainerVariables.Input {
    let namespace = spec.id.namespace
    let cache = context.cache
    return ContainerVariables.Input(
      pod: spec, addresses: sandbox.addresses, hostAddress: sandbox.node.addresses[0],
      configMap: { cache.object(.configMaps, PodName(namespace: namespace, name: $0))?.content },
      secret: { cache.object(.secrets, PodName(namespace: namespace, name: $0))?.content }, services: services)
  }

  // MARK: Root

  private func makeFolders(_ launch: ContainerLaunch, isImage: Bool) throws {
    for folder in [launch.root, launch.work, "\(launch.upper)/etc", "\(launch.upper)/dev", "\(launch.upper)/run"] {
      try Files.makeFolder(folder)
    }
    // An image's is empty; the machine's holds this lab.
    let error = weft_container_hide("\(launch.upper)/run")
    guard error == 0 else { throw LabError("\(launch.upper)/run: can't be made opaque: \(Errno.text(error))") }
    for (name, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
      symlink(target, "\(launch.upper)/dev/\(name)")
    }
    // Where the images have them: probes and hooks name them so.
    for program in Self.imagePrograms where !isImage && access("\(Programs.directory)/\(program)", X_OK) == 0 {
      symlink("\(Self.programs)/\(program)", "\(launch.upper)/\(program)")
    }
    try Files.writeAtomically(resolvConf, to: "\(launch.upper)/etc/resolv.conf")
    try Files.writeAtomically(hosts, to: "\(launch.upper)/etc/hosts")
    try Files.writeAtomically("\(spec.hostname)\n", to: "\(launch.upper)/etc/hostname")
    try Files.makeFolder("\(context.layout.podFolder(uid: spec.uid))/shm")
    chmod("\(context.layout.podFolder(uid: spec.uid))/shm", 0o1777)
    try Cgroup.make(launch.cgroup)
  }

  private var resolvConf: String {
    let search = [
      "\(spec.id.namespace).svc.\(ClusterPlan.domain)", "svc.\(ClusterPlan.domain)", ClusterPlan.domain,
    ].joined(separator: " ")
    return "nameserver \(AddressPlan.dnsServerText)\nsearch \(search)\noptions ndots:5\n"
  }

  private var hosts: String {
    var lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback", "0.0.0.0\tany-address"]
    var names = spec.hostname
    if !spec.subdomain.isEmpty {
      names = "\(spec.hostname).\(spec.subdomain).\(spec.id.namespace).svc.\(ClusterPlan.domain)\t\(spec.hostname)"
    }
    lines += sandbox.addresses.map { "\($0)\t\(names)" }
    lines += spec.hostAliases.map { "\($0.address)\t\($0.names.joined(separator: "\t"))" }
    return lines.joined(separator: "\n") + "\n"
  }

  private func mounts(
    _ container: ContainerSpec, folder: String, isImage: Bool
  ) throws -> [ContainerLaunch.Mount] {
    let isPrivileged = container.security?["privileged"]?.isTrue == true
    var mounts: [ContainerLaunch.Mount] = [.init(source: "/sys", target: "/sys", isRecursive: true)]
    // Where the pod has processes of its own, it is mounted anew.
    if !spec.sharesProcesses { mounts.append(.init(source: "/proc", target: "/proc", isRecursive: true)) }
    if !isImage {
      mounts.append(.init(source: Programs.directory, target: Self.programs, isReadOnly: true))
      mounts.append(.init(source: context.state.directory, target: context.state.directory))
      if let object = Self.bpfSource, let target = Self.bpfObject {
        mounts.append(.init(source: object, target: target, isReadOnly: true))
      }
    }
    if isPrivileged {
      mounts.append(.init(source: "/dev", target: "/dev", isRecursive: true))
    } else {
      for device in Self.devices where Files.exists("/dev/\(device)") || device == "shm" {
        let shared = "\(context.layout.podFolder(uid: spec.uid))/shm"
        mounts.append(.init(source: device == "shm" ? shared : "/dev/\(device)", target: "/dev/\(device)"))
      }
      let message = "\(folder)/termination-log"
      close(open(message, O_WRONLY | O_CREAT | O_CLOEXEC, 0o666))
      chmod(message, 0o666)
      mounts.append(.init(source: message, target: container.terminationPath))
    }
    // A mount in another one comes after it.
    for mount in container.mounts.sorted(by: { $0.path.count < $1.path.count }) {
      guard var source = volumes.source(of: mount.volume) else {
        throw LabError("there is no volume \"\(mount.volume)\"")
      }
      if !mount.subPath.isEmpty {
        guard !mount.subPath.split(separator: "/").contains("..") else {
          throw LabError("subPath \"\(mount.subPath)\" leads out of its volume")
        }
        source += "/\(mount.subPath)"
        if access(source, F_OK) != 0 { try Files.makeFolder(source) }
      }
      mounts.append(.init(source: source, target: mount.path, isRecursive: true, isReadOnly: mount.isReadOnly))
    }
    return mounts
  }

  /// What the container wrote into its termination log; at most 4 KiB.
  func terminationMessage(id: String) -> String {
    let path = "\(context.layout.podFolder(uid: spec.uid))/containers/\(id)/termination-log"
    return Files.text(path, limit: 4096) ?? ""
  }

  // MARK: Rights

  private func applySecurity(_ container: ContainerSpec, image: OCIImage?, to launch: inout ContainerLaunch) {
    let security = container.security
    let pod = spec.security
    func number(_ name: String) -> UInt32? {
      (security?[name]?.integer ?? pod?[name]?.integer).flatMap { UInt32(exactly: $0) }
    }
    let mustBeOther = security?["runAsNonRoot"]?.bool ?? pod?["runAsNonRoot"]?.bool ?? false
    // The user of an image without one that mustn't be root: the distroless images' nonroot.
    let own = image?.userNumbers ?? (mustBeOther ? (user: 65532, group: 65532) : (user: 0, group: 0))
    launch.user = number("runAsUser") ?? own.user
    launch.group = number("runAsGroup") ?? (number("runAsUser") == nil ? own.group : 0)
    let supplemental = (pod?["supplementalGroups"]?.elements ?? []).compactMap(\.integer)
    launch.groups = (supplemental + [pod?["fsGroup"]?.integer].compactMap { $0 }).compactMap { UInt32(exactly: $0) }
    launch.capabilities = Capabilities.bounding(security)
    launch.isRootReadOnly = security?["readOnlyRootFilesystem"]?.isTrue == true
    launch.hasNoNewPrivileges = security?["allowPrivilegeEscalation"]?.bool == false
  }
}
