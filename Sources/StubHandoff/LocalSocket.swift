import CLinux
import CStub
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
    descriptor = stub_listen_local(Self.name)
    if descriptor < 0 { return nil }
  }

  /// One question, within a second.
  /// - Returns: whether the program is to end.
  func answer() -> Bool {
    let peer = weft_accept(descriptor, nil, nil)
    guard peer >= 0 else { return false }
    defer { close(peer) }
    let user = stub_peer_user(peer)
    guard user == 0 || user == Int64(getuid()) else { return false }
    var entry = pollfd(fd: peer, events: Int16(POLLIN), revents: 0)
    guard poll(&entry, 1, 1000) > 0 else { return false }
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
