/// kube-proxy's part: ClusterIPs and node ports lead to a ready endpoint, chosen by chance. Pure.
enum ServiceRules {
  static let table = "weft-lab"

  /// A script of `nft -f` that replaces the whole table at once.
  static func script(_ services: [ServiceView]) -> String {
    var rewriting: [String] = []
    var refusing: [String] = []
    var hairpins: Set<String> = []
    // The DNS server's address is every node's own.
    let dns = AddressPlan.dnsServer.description
    for service in services where !service.address.isEmpty && service.address != dns {
      for port in service.ports {
        let match = "ip daddr \(service.address) \(port.transport) dport \(port.number)"
        guard !port.targets.isEmpty else {
          refusing.append("\(match) reject")
          continue
        }
        let target = destination(port.targets)
        rewriting.append("\(match) dnat ip to \(target)")
        if port.nodePort > 0 {
          rewriting.append("fib daddr type local \(port.transport) dport \(port.nodePort) dnat ip to \(target)")
        }
        hairpins.formUnion(port.targets.map(\.address))
      }
    }
    // A pod that reaches itself through a Service must see another source than its own address.
    var masquerading: [String] = []
    if !hairpins.isEmpty {
      let pairs = hairpins.sorted().map { "\($0) . \($0)" }.joined(separator: ", ")
      masquerading = ["ct status dnat ip saddr . ip daddr { \(pairs) } masquerade"]
    }
    return """
      table ip \(table)
      delete table ip \(table)
      table ip \(table) {
        chain services {
      \(lines(rewriting))  }
        chain refused {
      \(lines(refusing))  }
        chain prerouting {
          type nat hook prerouting priority dstnat;
          jump services
        }
        chain output {
          type nat hook output priority -100;
          jump services
        }
        chain postrouting {
          type nat hook postrouting priority srcnat;
      \(lines(masquerading))  }
        chain forward-filter {
          type filter hook forward priority filter;
          jump refused
        }
        chain output-filter {
          type filter hook output priority filter;
          jump refused
        }
      }

      """
  }

  private static func lines(_ rules: [String]) -> String { rules.map { "    \($0)\n" }.joined() }

  private static func destination(_ targets: [ServiceView.Target]) -> String {
    if targets.count == 1 { return "\(targets[0].address):\(targets[0].port)" }
    let map = targets.enumerated().map { "\($0) : \($1.address) . \($1.port)" }.joined(separator: ", ")
    return "numgen random mod \(targets.count) map { \(map) }"
  }
}
