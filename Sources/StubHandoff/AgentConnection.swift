import CLinux
import Glibc
import PodNetworking

/// A connection to the node's agent: opens what it asks for.
final class AgentConnection {
  enum Outcome {
    case none
    case state(LocalSocket.State)
    case ended(String)
  }

  let descriptor: Int32
  /// The agent has asked for something: it knows this pod.
  private(set) var hasBeenTaken = false

  /// nil: errno says why.
  init?(path: String) {
    descriptor = socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return nil }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let connected = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard connected == 0, greet() else { return nil }
  }

  /// Also of one that couldn't connect: errno goes on to say why.
  deinit {
    let code = errno
    if descriptor >= 0 { close(descriptor) }
    errno = code
  }

  /// Any socket of this namespace tells the agent which one it is.
  private func greet() -> Bool {
    let witness = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard witness >= 0 else { return false }
    defer { close(witness) }
    return send(HandoffMessage(.hello), [witness])
  }

  private func send(_ message: HandoffMessage, _ descriptors: [Int32] = []) -> Bool {
    let bytes = message.bytes
    let sent = weft_send_with_fds(descriptor, bytes, bytes.count, descriptors, Int32(descriptors.count))
    if sent < 0 { errno = Int32(-sent) }
    return sent == bytes.count
  }

  /// Takes one message.
  func step() -> Outcome {
    var buffer = [UInt8](repeating: 0, count: HandoffMessage.maximumBytes)
    var foreign: Int32 = -1
    var count: Int32 = 0
    let length = weft_receive_with_fds(descriptor, &buffer, buffer.count, &foreign, 1, &count)
    if count > 0 { close(foreign) }
    if length == -Int(EAGAIN) || length == -Int(EINTR) { return .none }
    guard length > 0 else {
      return .ended(length == 0 ? "it closed the connection" : String(cString: strerror(Int32(-length))))
    }
    guard let message = HandoffMessage(buffer[..<length]) else { return .ended("it speaks another version") }
    switch message.operation {
    case .open:
      hasBeenTaken = true
      guard let wanted = message.wanted else { return .ended("it asks for nothing") }
      return answer(wanted, message.id) ? .none : .ended(String(cString: strerror(errno)))
    case .captured: return .state(.captured)
    case .released: return .state(.waiting("the agent hasn't captured the pod"))
    case .failed: return .ended(message.text)
    case .hello, .opened: return .ended("it says what only a stub may")
    }
  }

  /// - Returns: false: the connection is of no use any more.
  private func answer(_ wanted: HandoffMessage.Wanted, _ id: UInt32) -> Bool {
    let sockets: [Int32]
    do throws(PodSocketError) {
      switch wanted {
      case .listeners: sockets = try SocketOpener.openListeners()
      case .listener(let listener): sockets = [try SocketOpener.open(listener)]
      case .sockets(let kind, let count): sockets = try SocketOpener.open(kind, count: count)
      }
    } catch {
      let text = error.isPortTaken ? error.what : "\(error.what): \(String(cString: strerror(error.code)))"
      return send(HandoffMessage(.failed, id: id, text: text))
    }
    defer { for fd in sockets { close(fd) } }
    return send(HandoffMessage(.opened, wanted: wanted, id: id), sockets)
  }
}
