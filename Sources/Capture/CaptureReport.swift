import CLibbpf
import Glibc

/// What is loaded, attached and filled.
public struct CaptureReport: Sendable, Codable, Hashable {
  public struct Program: Sendable, Codable, Hashable {
    public let name: String
    public let id: UInt32
    public let type: String
    /// Counted only while `sysctl kernel.bpf_stats_enabled=1`.
    public let runCount: UInt64

    enum CodingKeys: String, CodingKey {
      case name, id, type
      case runCount = "run_count"
    }
  }

  public struct Link: Sendable, Codable, Hashable {
    public let name: String
    public let id: UInt32
    public let attachType: String
    /// The cgroup's path, or the pod's uid; empty: what it was attached to is gone.
    public let target: String
    /// The id of the program that it runs.
    public let program: UInt32

    enum CodingKeys: String, CodingKey {
      case name, id, target, program
      case attachType = "attach_type"
    }
  }

  public struct Map: Sendable, Codable, Hashable {
    public let name: String
    public let id: UInt32
    public let type: String
    /// nil: the kernel can't count this type (socket storage).
    public let entries: Int?
    public let maxEntries: UInt32

    enum CodingKeys: String, CodingKey {
      case name, id, type, entries
      case maxEntries = "max_entries"
    }
  }

  public let programs: [Program]
  public let links: [Link]
  public let maps: [Map]
}

extension CaptureEngine {
  /// Counting goes through the maps: milliseconds with thousands of entries.
  public func inspect() throws(CaptureError) -> CaptureReport {
    CaptureReport(programs: try programs(), links: try links(), maps: try mapFill())
  }

  private func programs() throws(CaptureError) -> [CaptureReport.Program] {
    var found: [CaptureReport.Program] = []
    for program in CaptureProgram.all {
      var info = bpf_prog_info()
      var length = UInt32(MemoryLayout<bpf_prog_info>.size)
      guard bpf_obj_get_info_by_fd(try object.program(program.name), &info, &length) == 0 else {
        throw .system("reading the eBPF program \(program.name)", code: errno)
      }
      found.append(
        .init(
          name: program.name, id: info.id, type: Self.typeName(libbpf_bpf_prog_type_str(bpf_prog_type(info.type))),
          runCount: info.run_cnt))
    }
    return found
  }

  private func links() throws(CaptureError) -> [CaptureReport.Link] {
    let layout = PinLayout(configuration.bpffsDirectory)
    var found: [CaptureReport.Link] = []
    for program in CaptureProgram.all where program.isSingle {
      guard let info = PinnedLink.info(pin: layout.link(program.name)) else { continue }
      let target = program.place == .root ? configuration.cgroupRoot : configuration.agentCgroup
      found.append(link(program.name, info, target: info.target == 0 ? "" : target))
    }
    for name in Files.list(layout.folderLinks) {
      guard let info = PinnedLink.info(pin: "\(layout.folderLinks)/\(name)") else { continue }
      found.append(link(CaptureProgram.ingress.name, info, target: info.target == 0 ? "" : "cgroup \(name)"))
    }
    for pod in try knownPods() {
      guard let info = PinnedLink.info(pin: layout.podLink(pod.cookie)) else { continue }
      found.append(link(CaptureProgram.skLookup.name, info, target: info.target == 0 ? "" : pod.uid))
    }
    return found
  }

  private func link(_ name: String, _ info: weft_link_info, target: String) -> CaptureReport.Link {
    .init(
      name: name, id: info.id,
      attachType: Self.typeName(libbpf_bpf_attach_type_str(bpf_attach_type(info.attach_type))), target: target,
      program: info.program)
  }

  private func mapFill() throws(CaptureError) -> [CaptureReport.Map] {
    var found: [CaptureReport.Map] = []
    for (name, descriptor) in object.allMaps {
      var info = bpf_map_info()
      var length = UInt32(MemoryLayout<bpf_map_info>.size)
      guard bpf_obj_get_info_by_fd(descriptor, &info, &length) == 0 else {
        throw .system("reading an eBPF map", code: errno)
      }
      let storage = info.type == BPF_MAP_TYPE_SK_STORAGE.rawValue
      found.append(
        .init(
          name: name, id: info.id, type: Self.typeName(libbpf_bpf_map_type_str(bpf_map_type(info.type))),
          entries: storage ? nil : countEntries(map: descriptor, keySize: Int(info.key_size)),
          maxEntries: info.max_entries))
    }
    return found.sorted { $0.name < $1.name }
  }

  private static func typeName(_ text: UnsafePointer<CChar>?) -> String {
    text.map { String(cString: $0) } ?? "unknown"
  }
}
