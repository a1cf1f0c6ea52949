import CLibbpf
import Glibc
import MeshModel

/// The eBPF side of one agent: programs loaded, attached and pinned, pods entered into their maps.
///
/// Everything survives the process in `bpffsDirectory`. An engine made again on the same folder takes the maps over as
/// they are and swaps the programs without a gap. Use it from one thread at a time; calls take microseconds, loading
/// some tens of milliseconds.
public final class CaptureEngine {
  public let configuration: CaptureConfiguration
  let object: LoadedObject
  let maps: CaptureMaps
  private var nodes: Set<IPAddress>?
  /// uid to cookie, of every pod in the pinned maps.
  var cookies: [String: UInt64] = [:]

  /// Loads, attaches, pins. Attachments made by a call that throws are taken back; those found are left.
  public init(_ configuration: CaptureConfiguration) throws(CaptureError) {
    self.configuration = configuration
    let layout = PinLayout(configuration.bpffsDirectory)
    try Self.checkBounds(configuration)
    let root = try CgroupTree.identifier(of: configuration.cgroupRoot)
    let agent = try CgroupTree.identifier(of: configuration.agentCgroup)
    guard (configuration.agentCgroup + "/").hasPrefix(configuration.cgroupRoot + "/") else {
      throw CaptureError(
        .cgroup,
        "The agent's cgroup \(configuration.agentCgroup) is not under the capture root \(configuration.cgroupRoot): "
          + "the ends of a connection would not be brought together; choose a root above both")
    }
    try BPFFilesystem.ensureMounted(configuration.bpffsDirectory)
    for folder in [layout.maps, layout.links, layout.podLinks] { try Files.makeFolder(folder) }

    object = try LoadedObject(path: configuration.objectPath, mapsDirectory: layout.maps)
    maps = try CaptureMaps(object)
    try writeBypass()
    try set(nodeAddresses: configuration.nodeAddresses)
    try writeExcluded()
    try heartbeat()
    for cookie in maps.pods.keys(zero: 0) {
      if let pod = try maps.pods.value(cookie, initial: weft_pod()) { cookies[pod.uidText] = cookie }
    }
    try attach(root: root, agent: agent)
  }

  /// Says that the agent lives. Call it every second: after 5 s without, pods that fail open pass uncaptured.
  public func heartbeat() throws(CaptureError) {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    let nanoseconds = UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
    try maps.heartbeat.set(0, weft_heartbeat(at: nanoseconds, layout: UInt32(WEFT_LAYOUT_VERSION), pad: 0))
  }

  /// Takes everything away: attachments first (capture before what serves it), then maps, then the folder.
  public func detach() {
    Self.detach(bpffsDirectory: configuration.bpffsDirectory)
    cookies = [:]
  }

  /// The same without loading: for cleaning up after an agent that is gone.
  public static func detach(bpffsDirectory: String) {
    let layout = PinLayout(bpffsDirectory)
    for program in CaptureProgram.all.reversed() where program.isSingle {
      PinnedLink.remove(pin: layout.link(program.name))
    }
    for name in Files.list(layout.podLinks) { PinnedLink.remove(pin: "\(layout.podLinks)/\(name)") }
    for name in Files.list(layout.folderLinks) { PinnedLink.remove(pin: "\(layout.folderLinks)/\(name)") }
    for name in Files.list(layout.maps) { unlink("\(layout.maps)/\(name)") }
    for name in Files.list(layout.stubLinks) { PinnedLink.remove(pin: "\(layout.stubLinks)/\(name)") }
    for folder in [layout.folderLinks, layout.stubLinks, layout.podLinks, layout.links, layout.maps, bpffsDirectory] {
      rmdir(folder)
    }
  }

  private func attach(root: UInt64, agent: UInt64) throws(CaptureError) {
    let layout = PinLayout(configuration.bpffsDirectory)
    let lookup = try object.program(CaptureProgram.skLookup.name)
    let ingress = try object.program(CaptureProgram.ingress.name)
    updateLinks(in: layout.podLinks) { _ in lookup }
    updateLinks(in: layout.folderLinks) { _ in ingress }
    try updateStubLinks()
    let rootFolder = try openFolder(configuration.cgroupRoot)
    defer { close(rootFolder) }
    let agentFolder = try openFolder(configuration.agentCgroup)
    defer { close(agentFolder) }
    var created: [String] = []
    do throws(CaptureError) {
      for program in CaptureProgram.all where program.isSingle {
        let atRoot = program.place == .root
        let pin = layout.link(program.name)
        let outcome = try PinnedLink.ensure(
          pin: pin, program: try object.program(program.name), type: program.attachType,
          target: atRoot ? root : agent, descriptor: atRoot ? rootFolder : agentFolder,
          what: "\(program.name) to \(atRoot ? configuration.cgroupRoot : configuration.agentCgroup)")
        if outcome == .created { created.append(pin) }
      }
    } catch {
      for pin in created.reversed() { PinnedLink.remove(pin: pin) }
      throw error
    }
  }

  /// An agent before this one attached its programs: these take their place. What is gone has taken its link along.
  /// - Parameter program: for a pin's name; nil: it stays as it is.
  func updateLinks(in folder: String, _ program: (String) -> CInt?) {
    for name in Files.list(folder) {
      guard let program = program(name) else { continue }
      let pin = "\(folder)/\(name)"
      if !PinnedLink.update(pin: pin, program: program, target: nil) { unlink(pin) }
    }
  }

  /// The caller closes it.
  func openFolder(_ path: String) throws(CaptureError) -> CInt {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system("opening the cgroup \(path)", code: errno, reason: .cgroup) }
    return descriptor
  }

  private static func checkBounds(_ configuration: CaptureConfiguration) throws(CaptureError) {
    guard configuration.bypassCgroups.count <= 64, configuration.nodeAddresses.count <= 256,
      configuration.excluded.count <= 1_024
    else {
      throw CaptureError(
        .argument, "Capture takes at most 64 bypassed cgroups, 256 node addresses and 1,024 excluded prefixes")
    }
  }

  private func writeBypass() throws(CaptureError) {
    var wanted: Set<UInt64> = []
    for path in configuration.bypassCgroups { wanted.insert(try CgroupTree.identifier(of: path)) }
    for id in wanted { try maps.bypass.set(id, 1) }
    for id in maps.bypass.keys(zero: 0) where !wanted.contains(id) { try maps.bypass.remove(id) }
  }

  /// The addresses of the node's own network: whose probes pass, and whose pods are never held. At most 256.
  public func set(nodeAddresses: [IPAddress]) throws(CaptureError) {
    let wanted = Set(nodeAddresses.prefix(256))
    guard wanted != nodes else { return }
    for address in wanted { try maps.nodes.set(weft_address(address), 1) }
    for key in maps.nodes.keys(zero: weft_address()) where !wanted.contains(key.ip) { try maps.nodes.remove(key) }
    nodes = wanted
  }

  private func writeExcluded() throws(CaptureError) {
    let wanted = configuration.excluded.map { weft_prefix($0) }
    for prefix in wanted { try maps.exclude.set(prefix, 1) }
    for key in maps.exclude.keys(zero: weft_prefix()) {
      let kept = wanted.contains {
        $0.prefix_length == key.prefix_length && AddressPrefix.masked($0) == AddressPrefix.masked(key)
      }
      if !kept { try maps.exclude.remove(key) }
    }
  }
}

extension AddressPrefix {
  /// The kernel keeps a prefix's bits beyond its length as they were written: compared without them.
  fileprivate static func masked(_ prefix: weft_prefix) -> [UInt8] {
    withUnsafeBytes(of: prefix.address) { bytes in
      bytes.enumerated().map { index, byte in
        let kept = min(max(Int(prefix.prefix_length) - 8 * index, 0), 8)
        return byte & UInt8(truncatingIfNeeded: 0xff << (8 - kept))
      }
    }
  }
}

/// Where an agent's pins are.
struct PinLayout {
  let maps: String
  let links: String
  /// One link per pod, named by its namespace's cookie.
  let podLinks: String
  /// Two links per stub's cgroup, named by its pod's namespace's cookie, the cgroup's id and the program.
  let stubLinks: String
  /// One link per folder of pods, named by its cgroup's id.
  let folderLinks: String

  init(_ directory: String) {
    maps = directory + "/maps"
    links = directory + "/links"
    podLinks = links + "/pods"
    stubLinks = links + "/stubs"
    folderLinks = links + "/folders"
  }

  func link(_ program: String) -> String { "\(links)/\(program)" }
  func podLink(_ cookie: UInt64) -> String { "\(podLinks)/\(cookie)" }
}
