import CStub
import Glibc
import MeshModel
import StubCore

/// `weft-stub init`: the redirect, in the network namespace that this runs in.
enum CaptureStep {
  static func run(_ options: InitOptions) throws(CredentialsFailure) {
    for family in [IPAddress.Family.v4, .v6] {
      // A namespace without IPv6 has nothing to capture there.
      if family == .v6, access("/proc/net/if_inet6", F_OK) != 0 { continue }
      switch options.backend {
      case .nftables: if let failure = nftables(options, family) { throw CredentialsFailure(failure.reason) }
      case .iptables: try iptables(options, family)
      case .automatic:
        guard let failure = nftables(options, family) else { continue }
        // Of a kernel that has no nf_tables; anything else is a failure.
        guard [EPROTONOSUPPORT, EAFNOSUPPORT, EOPNOTSUPP, EINVAL, ENOENT].contains(failure.code) else {
          throw CredentialsFailure(failure.reason)
        }
        do throws(CredentialsFailure) { try iptables(options, family) } catch {
          throw CredentialsFailure("\(failure.reason); and \(error)")
        }
      }
    }
  }

  private static func nftables(_ options: InitOptions, _ family: IPAddress.Family) -> (code: Int32, reason: String)? {
    let networks = options.excludedNetworks.map { network in
      var made = stub_nft_network()
      let bytes = Sockets.bytes(network.address)
      withUnsafeMutableBytes(of: &made.address) { target in
        withUnsafeBytes(of: bytes) { target.copyMemory(from: $0) }
      }
      made.prefix = UInt8(network.prefix + (network.address.family == .v4 ? 96 : 0))
      return made
    }
    let inbound = options.allExcludedInboundPorts
    let (result, error) = withErrorText { text, capacity in
      options.excludedOutboundPorts.withUnsafeBufferPointer { outboundPorts in
        inbound.withUnsafeBufferPointer { inboundPorts in
          networks.withUnsafeBufferPointer { networks in
            var plan = stub_nft_plan(
              user: options.user, outbound_port: MeshPort.outbound, inbound_port: MeshPort.inbound,
              excluded_outbound_ports: outboundPorts.baseAddress, excluded_outbound_count: outboundPorts.count,
              excluded_inbound_ports: inboundPorts.baseAddress, excluded_inbound_count: inboundPorts.count,
              excluded_networks: networks.baseAddress, excluded_network_count: networks.count)
            let family = family == .v4 ? AF_INET : AF_INET6
            return options.removes
              ? stub_nft_apply(family, nil, text, capacity) : stub_nft_apply(family, &plan, text, capacity)
          }
        }
      }
    }
    return result == 0 ? nil : (-result, error)
  }

  private static func iptables(_ options: InitOptions, _ family: IPAddress.Family) throws(CredentialsFailure) {
    // In a container the root is read-only. A pod's rules are nobody's but its own.
    setenv("XTABLES_LOCKFILE", "/dev/shm/weft-xtables.lock", 0)
    // Where there are two, that which nf_tables serves is of no use on a kernel without.
    let name = family == .v4 ? "iptables" : "ip6tables"
    let programs = ["\(name)-legacy", name]
    for program in programs {
      for arguments in IPTablesRules.removal { _ = execute([program] + arguments, input: "", isQuiet: true) }
    }
    guard !options.removes else { return }
    let rules = IPTablesRules.restore(options, family: family)
    for program in programs {
      let status = execute(["\(program)-restore", "--noflush"], input: rules, isQuiet: false)
      if status == 0 { return }
      guard status == 127 else { throw CredentialsFailure("\(program)-restore failed (\(status))") }
    }
    throw CredentialsFailure(
      "\(name)-restore isn't in this image: use one that has iptables, or a kernel with nf_tables")
  }

  /// The exit status; 127 where there is no such program.
  private static func execute(_ command: [String], input: String, isQuiet: Bool) -> Int32 {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { return 126 }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, ends[0], 0)
    posix_spawn_file_actions_addclose(&actions, ends[1])
    if isQuiet { posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0) }
    var arguments = command.map { strdup($0) }
    defer { for argument in arguments { free(argument) } }
    arguments.append(nil)
    var child: pid_t = 0
    let result = posix_spawnp(&child, command[0], &actions, nil, arguments, environ)
    close(ends[0])
    if result == 0 { _ = input.utf8.withContiguousStorageIfAvailable { write(ends[1], $0.baseAddress, $0.count) } }
    close(ends[1])
    guard result == 0 else { return 127 }
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0, errno == EINTR {}
    return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + (status & 0x7f)
  }
}
