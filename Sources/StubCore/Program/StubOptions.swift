import MeshModel

/// A command line that can't be used: one sentence that says what to change.
public struct OptionError: Error, Equatable, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = description }
}

/// `--name VALUE` and `--name=VALUE`; each name may be given several times.
struct ParsedOptions {
  private var values: [String: [String]] = [:]

  init(_ arguments: some Collection<String>, known: Set<String>, flags: Set<String> = []) throws(OptionError) {
    var rest = Array(arguments)[...]
    while let argument = rest.popFirst() {
      guard argument.hasPrefix("--") else { throw OptionError("\(argument) is not an option") }
      let parts = argument.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = String(parts[0])
      if flags.contains(name), parts.count == 1 {
        values[name, default: []].append("")
        continue
      }
      guard known.contains(name) else { throw OptionError("--\(name) is not an option of this command") }
      guard let value = parts.count == 2 ? String(parts[1]) : rest.popFirst() else {
        throw OptionError("--\(name) needs a value")
      }
      values[name, default: []].append(value)
    }
  }

  func has(_ name: String) -> Bool { values[name] != nil }
  func last(_ name: String) -> String? { values[name]?.last }

  func required(_ name: String, _ what: String) throws(OptionError) -> String {
    guard let value = last(name), !value.isEmpty else { throw OptionError("--\(name) is missing: \(what)") }
    return value
  }

  /// All values, also those that stand between commas; empty ones are left out (a downward API field may be).
  func list(_ name: String) -> [String] {
    values[name, default: []].flatMap { $0.split(separator: ",").map(String.init) }
  }

  func number(_ name: String, default value: Int, _ range: ClosedRange<Int>) throws(OptionError) -> Int {
    guard let text = last(name) else { return value }
    guard let number = Int(text), range.contains(number) else {
      throw OptionError("--\(name) \(text) is not a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  func addresses(_ name: String) throws(OptionError) -> [IPAddress] {
    var addresses: [IPAddress] = []
    for text in list(name) {
      guard let address = IPAddress(text) else { throw OptionError("--\(name) \(text) is not an IP address") }
      addresses.append(address)
    }
    return addresses
  }

  func ports(_ name: String) throws(OptionError) -> [UInt16] {
    var ports: [UInt16] = []
    for text in list(name) {
      guard let port = UInt16(text), port > 0 else {
        throw OptionError("--\(name) \(text) is not a port (1 to 65535)")
      }
      ports.append(port)
    }
    guard ports.count <= 256 else {
      throw OptionError("--\(name) names \(ports.count) ports; at most 256 are accepted")
    }
    return ports
  }
}

/// `HOST:PORT`, `ADDRESS:PORT` or `[V6]:PORT`.
public struct ControlAddress: Equatable, CustomStringConvertible {
  public var host: String
  public var port: UInt16

  public init?(_ text: String) {
    if let address = SocketAddress(text), address.port > 0 {
      host = address.ip.description
      port = address.port
      return
    }
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2, DNSName.isSubdomain(parts[0].lowercased()), let number = UInt16(parts[1]), number > 0 else {
      return nil
    }
    host = String(parts[0])
    port = number
  }

  public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// `weft-stub run`.
public struct RunOptions: Equatable {
  /// Where the pod's certificate comes from.
  public enum Credentials: Equatable {
    /// The join port, in exchange for the token in the file.
    case join(ControlAddress, tokenFile: String)
    /// Somebody else renews the files.
    case files(certificate: String, key: String)
  }

  public static let user: UInt32 = 61337
  /// In the pod's network namespace.
  public static let adminName = "weft-stub"

  public var pod: StubPod
  public var identity: SPIFFEID
  public var control: ControlAddress
  public var credentials: Credentials
  public var caFile: String
  public var drainSeconds: Int
  /// After SIGTERM it serves for so long at least, also where nothing is open: its pod's application is asked to stop at the
  /// same moment, and may work on.
  public var lingerSeconds: Int
  public var connections: Int
  /// Ends when no other process of the pod is left (needs shareProcessNamespace).
  public var endsWithApplication: Bool

  static let names: Set<String> = [
    "pod", "pod-ip", "host-ip", "service-account", "trust-domain", "control", "join", "token-file", "ca-file",
    "certificate", "key", "drain-seconds", "linger-seconds", "connections",
  ]

  public init(_ arguments: some Collection<String>) throws(OptionError) {
    let options = try ParsedOptions(arguments, known: Self.names, flags: ["end-with-application"])
    let name = try options.required("pod", "NAMESPACE/NAME of the pod")
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, DNSName.isLabel(parts[0]), DNSName.isSubdomain(parts[1]) else {
      throw OptionError("--pod \(name) is not NAMESPACE/NAME")
    }
    pod = StubPod(
      workload: name, addresses: try options.addresses("pod-ip"), hostAddresses: try options.addresses("host-ip"))
    guard !pod.addresses.isEmpty else { throw OptionError("--pod-ip is missing: the pod's addresses") }
    let domain = options.last("trust-domain") ?? TrustDomain.clusterLocal.name
    guard let trustDomain = TrustDomain(domain) else { throw OptionError("--trust-domain \(domain) is not one") }
    let account = try options.required("service-account", "the pod's ServiceAccount")
    guard let identity = SPIFFEID(trustDomain: trustDomain, namespace: String(parts[0]), serviceAccount: account) else {
      throw OptionError("--service-account \(account) is not the name of one")
    }
    self.identity = identity
    control = try Self.address(options, "control", "HOST:PORT of the control plane's discovery port, 15010")
    caFile = try options.required("ca-file", "the trust bundle that the control plane is verified by, in PEM")
    credentials = try Self.credentials(options)
    drainSeconds = try options.number("drain-seconds", default: 25, 0...3600)
    lingerSeconds = try options.number("linger-seconds", default: 0, 0...3600)
    connections = try options.number("connections", default: 4096, 16...65_536)
    endsWithApplication = options.has("end-with-application")
  }

  private static func credentials(_ options: ParsedOptions) throws(OptionError) -> Credentials {
    guard options.has("certificate") || options.has("key") else {
      let join = try address(options, "join", "HOST:PORT of the control plane's join port, 15012")
      return .join(join, tokenFile: try options.required("token-file", "the pod's projected token, audience weft"))
    }
    guard !options.has("join"), !options.has("token-file") else {
      throw OptionError("--certificate and --key stand in place of --join and --token-file, not beside them")
    }
    return .files(
      certificate: try options.required("certificate", "the chain in PEM, leaf first"),
      key: try options.required("key", "the private key in PEM"))
  }

  private static func address(
    _ options: ParsedOptions, _ name: String, _ what: String
  ) throws(OptionError) -> ControlAddress {
    let text = try options.required(name, what)
    guard let address = ControlAddress(text) else { throw OptionError("--\(name) \(text) is not HOST:PORT") }
    return address
  }
}

/// `weft-stub init`.
public struct InitOptions: Equatable {
  public struct Network: Equatable {
    public var address: IPAddress
    /// Bits of the address's own family.
    public var prefix: Int

    public init?(_ text: String) {
      let parts = text.split(separator: "/", omittingEmptySubsequences: false)
      guard parts.count <= 2, let address = IPAddress(String(parts[0])) else { return nil }
      let bits = address.family == .v4 ? 32 : 128
      guard let prefix = parts.count == 2 ? Int(parts[1]) : bits, (0...bits).contains(prefix) else { return nil }
      self.address = address
      self.prefix = prefix
    }
  }

  public enum Backend: String { case automatic = "auto", nftables, iptables }

  public var removes: Bool
  public var backend: Backend
  public var user: UInt32
  public var excludedOutboundPorts: [UInt16]
  /// Of the applications; the stub's own are always left out.
  public var excludedInboundPorts: [UInt16]
  public var excludedNetworks: [Network]

  static let names: Set<String> = [
    "backend", "user", "exclude-outbound-ports", "exclude-inbound-ports", "exclude-cidrs",
  ]

  public init(_ arguments: some Collection<String>) throws(OptionError) {
    let options = try ParsedOptions(arguments, known: Self.names, flags: ["remove"])
    removes = options.has("remove")
    let name = options.last("backend") ?? Backend.automatic.rawValue
    guard let backend = Backend(rawValue: name) else {
      throw OptionError("--backend \(name) is none of auto, nftables, iptables")
    }
    self.backend = backend
    user = UInt32(try options.number("user", default: Int(RunOptions.user), 1...Int(Int32.max)))
    excludedOutboundPorts = try options.ports("exclude-outbound-ports")
    excludedInboundPorts = try options.ports("exclude-inbound-ports")
    var networks: [Network] = []
    for text in options.list("exclude-cidrs") {
      guard let network = Network(text) else {
        throw OptionError("--exclude-cidrs \(text) is not a network such as 10.0.0.0/8")
      }
      networks.append(network)
    }
    guard networks.count <= 256 else { throw OptionError("--exclude-cidrs names more than 256 networks") }
    excludedNetworks = networks
  }

  /// Never redirected: the tunnel's port and the probes of the stub itself.
  public var allExcludedInboundPorts: [UInt16] { [MeshPort.hbone, StubPort.health] + excludedInboundPorts }
}

public enum StubPort {
  public static let health: UInt16 = 15021
}

/// `weft-stub wait`.
public struct WaitOptions: Equatable {
  public var seconds: Int

  public init(_ arguments: some Collection<String>) throws(OptionError) {
    let options = try ParsedOptions(arguments, known: ["timeout"])
    seconds = try options.number("timeout", default: 60, 1...3600)
  }
}
