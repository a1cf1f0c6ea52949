import MeshModel

/// The redirect as iptables-restore takes it, where a kernel has no nf_tables. It replaces the chains WEFT_OUTBOUND and
/// WEFT_INBOUND and leaves all others alone.
public enum IPTablesRules {
  /// Makes the chains and hooks them in; what `removal` removes isn't there then.
  public static func restore(_ options: InitOptions, family: IPAddress.Family) -> String {
    var lines = ["*nat", ":WEFT_OUTBOUND - [0:0]", ":WEFT_INBOUND - [0:0]"]
    lines.append("-A WEFT_OUTBOUND -m owner --uid-owner \(options.user) -j RETURN")
    lines.append("-A WEFT_OUTBOUND -o lo -j RETURN")
    for network in options.excludedNetworks where network.address.family == family {
      lines.append("-A WEFT_OUTBOUND -d \(network.address)/\(network.prefix) -j RETURN")
    }
    for port in options.excludedOutboundPorts { lines.append("-A WEFT_OUTBOUND -p tcp --dport \(port) -j RETURN") }
    lines.append("-A WEFT_OUTBOUND -p tcp -j REDIRECT --to-ports \(MeshPort.outbound)")
    lines.append("-A WEFT_INBOUND -i lo -j RETURN")
    for port in options.allExcludedInboundPorts { lines.append("-A WEFT_INBOUND -p tcp --dport \(port) -j RETURN") }
    lines.append("-A WEFT_INBOUND -p tcp -j REDIRECT --to-ports \(MeshPort.inbound)")
    lines.append("-A OUTPUT -p tcp -j WEFT_OUTBOUND")
    lines.append("-A PREROUTING -p tcp -j WEFT_INBOUND")
    return (lines + ["COMMIT", ""]).joined(separator: "\n")
  }

  /// Commands (arguments of iptables) that remove it; each may fail where it isn't there.
  public static let removal: [[String]] = [
    ["-t", "nat", "-D", "OUTPUT", "-p", "tcp", "-j", "WEFT_OUTBOUND"],
    ["-t", "nat", "-D", "PREROUTING", "-p", "tcp", "-j", "WEFT_INBOUND"],
    ["-t", "nat", "-F", "WEFT_OUTBOUND"], ["-t", "nat", "-X", "WEFT_OUTBOUND"],
    ["-t", "nat", "-F", "WEFT_INBOUND"], ["-t", "nat", "-X", "WEFT_INBOUND"],
  ]
}
