import Discovery
import Foundation
import MeshModel

/// What one node's agent is told at its start.
public struct AgentConfiguration: Sendable {
  public var node: String
  public var control: ControlEndpoint
  public var join: ControlEndpoint
  public var joinTokenFile: String
  /// PEM: verifies the control plane until it has sent a trust bundle.
  public var trustFile: String
  /// Certificates, keys and the last good snapshot; 0700.
  public var stateDirectory: String
  /// The sockets: agent.sock and proxy.sock.
  public var runDirectory: String
  public var bpffsDirectory: String
  public var cgroupRoot: String
  /// The agent's own cgroup.
  public var cgroup: String
  public var proxyCgroup: String
  /// Where an agent before this one, in another place, may have left its proxy: not captured either.
  public var formerProxyCgroup: String?
  public var bpfObject: String
  public var proxyProgram: String
  public var proxyUID: UInt32
  public var proxyWorkers: Int
  public var nodeAddresses: [IPAddress]
  /// They are asked for again each second, as they change.
  public var followsNodeAddresses = false
  public var logLevel: String
  /// SIGTERM leaves the proxy and the capture as they are, for the agent after this one.
  public var keepsOnExit: Bool
  /// A proxy that an agent before has started is replaced also where its program is the same.
  public var replacesProxy = false
  /// Seconds that a replaced proxy has to finish what is open: a day at most.
  public var drainSeconds: UInt32 = 600
  /// How pods of the cgroup tree are held while the control plane doesn't know them.
  var hold = HoldPolicy()
  /// Seconds that pods which no agent has seen are held, counted from an agent's last sign of life.
  public var holdUnseen: UInt64 = 120
  /// The kubelet's folder of pod logs, which tells a pod's namespace; empty: none.
  public var podLogs = ""

  /// - Parameters:
  ///   - unknown: seconds, at most an hour.
  ///   - unheldNamespaces: whose pods pass while they're unknown.
  ///   - entersPods: whether the agent may enter their network namespaces.
  public mutating func hold(unknown: UInt64, unheldNamespaces: [String], entersPods: Bool = true) {
    hold = HoldPolicy(
      holdUnknown: min(unknown, 3600) * 1_000_000_000, unheldNamespaces: Set(unheldNamespaces), entersPods: entersPods)
  }

  public init(
    node: String, control: ControlEndpoint, join: ControlEndpoint, joinTokenFile: String, trustFile: String,
    stateDirectory: String, runDirectory: String, bpffsDirectory: String, cgroupRoot: String, cgroup: String,
    proxyCgroup: String, bpfObject: String, proxyProgram: String, proxyUID: UInt32, proxyWorkers: Int,
    nodeAddresses: [IPAddress], logLevel: String, keepsOnExit: Bool
  ) {
    self.node = node
    self.control = control
    self.join = join
    self.joinTokenFile = joinTokenFile
    self.trustFile = trustFile
    self.stateDirectory = stateDirectory
    self.runDirectory = runDirectory
    self.bpffsDirectory = bpffsDirectory
    self.cgroupRoot = cgroupRoot
    self.cgroup = cgroup
    self.proxyCgroup = proxyCgroup
    self.bpfObject = bpfObject
    self.proxyProgram = proxyProgram
    self.proxyUID = proxyUID
    self.proxyWorkers = proxyWorkers
    self.nodeAddresses = nodeAddresses
    self.logLevel = logLevel
    self.keepsOnExit = keepsOnExit
  }
}
