import CLinux
import Glibc

/// Answers `weft-stub wait`, `status` and `quit` as tunnel mode does: on an abstract name of the pod's network namespace, to
/// root and this program's own user.
final class LocalSocket {
  enum State: Equatable {
    case waiting(String)
    case captured
  }

  static let name = "weft-stub"

  let descriptor: Int32
  var state = State.waiting("no agent has been reached yet")

  /// nil: the name is taken.
  init?() {
    descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
    guard descriptor >= 0 else { return nil }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { path in
      path[0] = 0
      for (index, byte) in Self.name.utf8.enumerated() { path[index + 1] = byte }
    }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + 1 + Self.name.utf8.count)
    let bound = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
    }
    guard bound == 0, listen(descriptor, 16) == 0 else {
      close(descriptor)
      return nil
    }
  }

  /// One question, within a second.
  /// - Returns: whether the program is to end.
  func answer() -> Bool {
    let peer = accept4(descriptor, nil, nil, Int32(SOCK_CLOEXEC.rawValue))
    guard peer >= 0 else { return false }
    defer { close(peer) }
    var user: uid_t = 0
    guard weft_peer_uid(peer, &user) == 0, user == 0 || user == getuid() else { return false }
    var patience = timeval(tv_sec: 1, tv_usec: 0)
    setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    var question = [UInt8](repeating: 0, count: 64)
    let count = read(peer, &question, question.count)
    guard count > 0 else { return false }
    let word = String(decoding: question[..<count].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    let isEnding = word == "quit"
    var text = isEnding ? "quitting\n" : word == "status" ? status + "\n" : "unknown\n"
    text.withUTF8 { _ = send(peer, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    return isEnding
  }

  private var status: String {
    switch state {
    case .captured: return #"{"mode":"handoff","ready":true}"#
    case .waiting(let reason):
      let plain = reason.unicodeScalars.map { scalar -> String in
        scalar == "\"" || scalar == "\\" || scalar.value < 0x20 ? "'" : String(Character(scalar))
      }
      return #"{"mode":"handoff","ready":false,"reason":""# + plain.joined() + #""}"#
    }
  }
}
