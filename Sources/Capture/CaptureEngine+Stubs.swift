import CLibbpf
import Glibc

/// Sockets that a pod's stub opens: they belong to the stub's cgroup, not to the agent's.
extension CaptureEngine {
  private static let programs = ["weft_getsockopt", "weft_setsockopt"]

  /// Lets the proxy ask and say about sockets that processes in `cgroup` open what it may about the agent's own. Whether a
  /// connect is the mesh's is judged by the task that connects, the proxy's: the stub needs no exemption, and has none.
  /// - Parameters:
  ///   - cgroup: the stub's container's folder.
  ///   - namespace: the pod's: what is attached goes when it is released.
  public func serveSockets(of cgroup: String, in namespace: NetworkNamespace) throws(CaptureError) {
    let layout = PinLayout(configuration.bpffsDirectory)
    try Files.makeFolder(layout.stubLinks)
    let id = try CgroupTree.identifier(of: cgroup)
    let folder = try openFolder(cgroup)
    defer { close(folder) }
    for program in CaptureProgram.all where Self.programs.contains(program.name) {
      try PinnedLink.ensure(
        pin: "\(layout.stubLinks)/\(namespace.cookie)-\(id)-\(program.name)", program: try object.program(program.name),
        type: program.attachType, target: id, descriptor: folder, what: "\(program.name) to \(cgroup)")
    }
  }

  /// What was attached for a pod's stubs.
  func removeStubLinks(cookie: UInt64) {
    let layout = PinLayout(configuration.bpffsDirectory)
    for name in Files.list(layout.stubLinks) where name.hasPrefix("\(cookie)-") {
      PinnedLink.remove(pin: "\(layout.stubLinks)/\(name)")
    }
  }

  func updateStubLinks() throws(CaptureError) {
    var programs: [(suffix: String, program: CInt)] = []
    for name in Self.programs { programs.append(("-\(name)", try object.program(name))) }
    updateLinks(in: PinLayout(configuration.bpffsDirectory).stubLinks) { pin in
      programs.first { pin.hasSuffix($0.suffix) }?.program
    }
  }
}
