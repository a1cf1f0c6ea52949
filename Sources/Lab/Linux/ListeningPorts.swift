/// Which ports of a network namespace are bound, read through a process that lives in it.
struct ListeningPorts {
  private var tcp: Set<UInt16> = []
  private var udp: Set<UInt16> = []

  init(pid: Int32) {
    for suffix in ["", "6"] {
      // State 0A is TCP_LISTEN, 07 TCP_CLOSE, which is every unconnected UDP socket (proc_net_tcp).
      tcp.formUnion(Self.ports("/proc/\(pid)/net/tcp\(suffix)", state: "0A"))
      udp.formUnion(Self.ports("/proc/\(pid)/net/udp\(suffix)", state: "07"))
    }
  }

  func contains(_ port: PodManifest.Port) -> Bool {
    port.isUDP ? udp.contains(port.number) : tcp.contains(port.number)
  }

  private static func ports(_ path: String, state: Substring) -> Set<UInt16> {
    var ports: Set<UInt16> = []
    for line in (Files.text(path) ?? "").split(separator: "\n").dropFirst() {
      let fields = line.split(separator: " ", maxSplits: 4)
      guard fields.count >= 4, fields[3] == state, let colon = fields[1].lastIndex(of: ":"),
        let port = UInt16(fields[1][fields[1].index(after: colon)...], radix: 16)
      else { continue }
      ports.insert(port)
    }
    return ports
  }
}
