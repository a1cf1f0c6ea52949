import CLinux
import Dispatch
import Foundation
import Glibc
import Synchronization

/// Where stubs in handoff mode connect: a Unix socket in a folder of its own, which is all of the node that their pods see.
/// Anybody may connect; who it is, the kernel says.
final class StubListener: Sendable {
  /// Connections at a time; more are closed at once.
  static let connectionsBound = 1024

  private let descriptor: Int32
  // Only cancelled, which any thread may.
  private nonisolated(unsafe) let source: any DispatchSourceRead
  private let path: String

  private init(descriptor: Int32, source: any DispatchSourceRead, path: String) {
    self.descriptor = descriptor
    self.source = source
    self.path = path
  }

  /// - Parameters:
  ///   - appeared: is told a stub that has said hello.
  ///   - gone: is told its end, once, with the reason.
  static func start(
    path: String, appeared: @escaping @Sendable (StubLink) async -> Void,
    gone: @escaping @Sendable (StubLink, String) async -> Void
  ) throws -> StubListener {
    let folder = URL(filePath: path).deletingLastPathComponent().path
    try FileManager.default.createDirectory(
      atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
    let descriptor = try ControlSocket.listen(path, type: SOCK_SEQPACKET, mode: 0o666)
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    let queue = DispatchQueue(label: "weft.stubs")
    let source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: queue)
    let count = Counter()
    source.setEventHandler {
      while true {
        let peer = weft_accept(descriptor, nil, nil)
        guard peer >= 0 else { return }
        guard let who = try? StubPeer(of: peer), count.enter(below: connectionsBound) else {
          close(peer)
          continue
        }
        StubLink.start(peer, who, appeared: appeared) { link, reason in
          count.leave()
          await gone(link, reason)
        }
      }
    }
    source.setCancelHandler { close(descriptor) }
    source.activate()
    return StubListener(descriptor: descriptor, source: source, path: path)
  }

  func stop() {
    source.cancel()
    unlink(path)
  }

  private final class Counter: Sendable {
    private let value = Mutex(0)

    func enter(below bound: Int) -> Bool {
      value.withLock { value in
        guard value < bound else { return false }
        value += 1
        return true
      }
    }

    func leave() { value.withLock { $0 -= 1 } }
  }
}
