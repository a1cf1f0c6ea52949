import Glibc
import MeshModel

/// Where an agent's socket is.
enum AgentSocket {
  static let standardPath = "/run/weft/agent.sock"
  private static let labs = "/run/weft-lab"

  /// What finding a socket needs to know of the machine.
  struct Machine {
    var environment: (String) -> String?
    /// The names in a folder; none where it can't be read.
    var entries: (String) -> [String]
    var exists: (String) -> Bool

    static var this: Machine {
      Machine(
        environment: { getenv($0).map { String(cString: $0) } }, entries: directoryEntries,
        exists: { access($0, F_OK) == 0 })
    }

    private static func directoryEntries(_ path: String) -> [String] {
      guard let directory = opendir(path) else { return [] }
      defer { closedir(directory) }
      var names: [String] = []
      while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
          $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != ".", name != ".." { names.append(name) }
      }
      return names.sorted()
    }
  }

  /// What to do where no socket is: the nodes of this machine's labs, if it has any, can be meant.
  static func advice(_ options: GlobalOptions, on machine: Machine = .this) -> String {
    let nodes = machine.entries(labs).flatMap { lab in
      machine.entries("\(labs)/\(lab)/nodes").filter { machine.exists("\(labs)/\(lab)/nodes/\($0)/run/agent.sock") }
    }
    guard options.socket == nil, options.node == nil, !nodes.isEmpty else {
      return "Start weft-agent on this node, or say where it is with --socket or --node"
    }
    let names = Set(nodes).sorted().map(Text.printable).joined(separator: ", ")
    return "Labs run here: say which node with --node \(names)"
  }

  static func path(_ options: GlobalOptions, on machine: Machine = .this) throws -> String {
    if let socket = options.socket { return socket }
    guard let node = options.node else {
      return machine.environment("WEFT_SOCKET").flatMap { $0.isEmpty ? nil : $0 } ?? standardPath
    }
    guard DNSName.isSubdomain(node) else {
      throw Failure(message: "\"\(Text.printable(node))\" isn't the name of a node.", status: .usage)
    }
    let inLab = { (lab: String) in "\(labs)/\(lab)/nodes/\(node)/run/agent.sock" }
    if let lab = machine.environment("WEFT_LAB"), DNSName.isLabel(lab), machine.exists(inLab(lab)) { return inLab(lab) }
    let found = machine.entries(labs).filter { machine.exists(inLab($0)) }
    guard found.count <= 1 else {
      throw Failure(
        message: "The labs \(found.joined(separator: ", ")) all have a node \(node). "
          + "Say which one with WEFT_LAB=LAB or --socket PATH.", status: .usage)
    }
    return found.first.map(inLab) ?? "/run/weft/\(node)/agent.sock"
  }
}
