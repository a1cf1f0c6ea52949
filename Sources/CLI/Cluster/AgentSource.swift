import Foundation

/// Whom a command asks: an agent of this machine through its socket, or agents of a cluster through the API server.
enum AgentSource: Equatable {
  case socket(String)
  case cluster

  /// What the choice needs to know of the machine.
  struct Machine {
    var sockets: AgentSocket.Machine
    /// A kubeconfig file is there, or this is a pod.
    var hasCluster: Bool

    static var this: Machine {
      let isPod = ProcessInfo.processInfo.environment["KUBERNETES_SERVICE_HOST"] != nil
      return Machine(sockets: .this, hasCluster: isPod || KubeconfigOptions.standardPath() != nil)
    }
  }

  /// A socket that is named comes first, then a cluster that is named, then what this machine has.
  static func choose(_ options: GlobalOptions, on machine: Machine = .this) throws -> AgentSource {
    if options.socket != nil { return .socket(try AgentSocket.path(options, on: machine.sockets)) }
    if options.namesCluster { return .cluster }
    let path = try AgentSocket.path(options, on: machine.sockets)
    // With neither, the socket's failure says what to do.
    return machine.hasCluster && !machine.sockets.exists(path) ? .cluster : .socket(path)
  }
}
