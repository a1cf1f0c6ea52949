import CLinux
import CStub
import Glibc
import PodNetworking

/// `weft-stub handoff`: opens its pod's sockets when the node's agent asks, and passes them to it. No byte of the pod's
/// connections comes here. It asks for no right: its own network namespace is the pod's.
public enum HandoffProgram {
  public static let standardSocket = "/run/weft/stub.sock"
  /// Between two tries to reach an agent that isn't there; milliseconds.
  private static let pauses: [Int32] = [50, 100, 200, 500, 1000]

  /// - Parameter arguments: those after `handoff`.
  /// - Returns: the exit status: 0 ended by a signal or `quit`, 1 it can't work, 2 usage.
  public static func run(_ arguments: ArraySlice<String>) -> Int32 {
    var socket = standardSocket
    var rest = arguments
    while let argument = rest.popFirst() {
      guard argument == "--socket", let value = rest.popFirst(), value.hasPrefix("/"), value.utf8.count < 100 else {
        log("usage: weft-stub handoff [--socket PATH]; PATH is absolute and shorter than 100 bytes")
        return 2
      }
      socket = value
    }
    _ = weft_forbid_dumps()
    stub_keep_memory_small()
    guard let local = LocalSocket() else {
      log("another stub runs in this pod: @\(LocalSocket.name) is taken")
      return 1
    }
    let signals = stub_signals()
    guard signals >= 0 else {
      log("can't wait for signals: \(String(cString: strerror(errno)))")
      return 1
    }
    var failures = 0
    while true {
      if let agent = AgentConnection(path: socket) {
        log("connected to the node's agent at \(socket)")
        let ending = serve(agent, local, signals)
        if agent.hasBeenTaken { failures = 0 }
        guard let ending else { return 0 }
        log("the agent is gone: \(ending); the sockets that it has go on")
        local.state = .waiting("the agent is gone: \(ending)")
      } else {
        let reason = "no agent at \(socket): \(String(cString: strerror(errno)))"
        if local.state != .waiting(reason) { log(reason) }
        local.state = .waiting(reason)
      }
      let pause = pauses[min(failures, pauses.count - 1)]
      failures += 1
      if wait(pause, local, signals) { return 0 }
    }
  }

  /// One connection's life.
  /// - Returns: why it ended; nil: the program is to end.
  private static func serve(_ agent: AgentConnection, _ local: LocalSocket, _ signals: Int32) -> String? {
    while true {
      var entries = [agent.descriptor, local.descriptor, signals].map {
        pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
      }
      if poll(&entries, 3, -1) < 0, errno != EINTR { return String(cString: strerror(errno)) }
      if entries[2].revents != 0 { return nil }
      if entries[1].revents != 0, local.answer() { return nil }
      if entries[0].revents != 0 {
        switch agent.step() {
        case .none: break
        case .state(let state):
          local.state = state
          // What the start needed isn't needed any more.
          stub_trim_memory()
          stub_release_clean_pages()
        case .ended(let reason): return reason
        }
      }
    }
  }

  /// - Returns: whether the program is to end.
  private static func wait(_ milliseconds: Int32, _ local: LocalSocket, _ signals: Int32) -> Bool {
    var entries = [local.descriptor, signals].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    guard poll(&entries, 2, milliseconds) > 0 else { return false }
    if entries[1].revents != 0 { return true }
    return entries[0].revents != 0 && local.answer()
  }

  static func log(_ text: String) {
    var line = "weft-stub: \(text)\n"
    line.withUTF8 { _ = write(2, $0.baseAddress, $0.count) }
  }
}
