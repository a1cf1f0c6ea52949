import CLinux
import Glibc
import ProxyCore
import Synchronization

@testable import ProxyRuntime

/// All endpoints of a lab's `shop/web`, speaking HTTP/2: a thread for each connection. Every request is answered with its
/// path and content, the latest `held` of them only once nothing more comes.
final class HTTP2Origin: Sendable {
  private let held: Int
  /// By endpoint: the connection goes away after so many requests, of which it answers only those before the held ones.
  private let leavesAfter: [Int: Int]
  private let answers = Mutex<[String: Int]>([:])
  private let failures = Mutex<[String]>([])
  private let leavings = Atomic(0)
  private let running = Atomic(0)
  private let listeners: [TestSocket]

  init(_ lab: HTTPLab, held: Int = 8, leavesAfter: [Int: Int] = [:]) {
    self.held = held
    self.leavesAfter = leavesAfter
    listeners = lab.backends
    for (index, listener) in listeners.enumerated() {
      run {
        while let socket = try? listener.accept() {
          self.run { try self.serve(HTTP2Talker(HTTPPeer(socket), .server), leavesAfter[index]) }
        }
      }
    }
  }

  private func run(_ body: @escaping @Sendable () throws -> Void) {
    running.add(1, ordering: .relaxed)
    _ = inBackground { [self] in
      defer { running.subtract(1, ordering: .relaxed) }
      do {
        try body()
      } catch let error as SystemError where error.code == EPIPE || error.code == ECONNRESET {
        // The proxy has all that it waits for.
      } catch {
        failures.withLock { $0.append("\(error)") }
      }
    }
  }

  private func serve(_ talker: HTTP2Talker, _ leavesAfter: Int?) throws {
    var answered = 0
    var mayAnswer = Int.max
    while !talker.isAtEnd {
      let isQuiet = try !talker.readOne(for: 5)
      if let leavesAfter, mayAnswer == .max, talker.streams.count >= leavesAfter {
        mayAnswer = max(answered, talker.streams.count - held)
        try talker.goAway(lastStream: mayAnswer > 0 ? talker.streams[mayAnswer - 1] : 0)
        leavings.add(1, ordering: .relaxed)
      }
      let due = min(mayAnswer, isQuiet ? talker.streams.count : talker.streams.count - held)
      while answered < due, let message = talker.messages[talker.streams[answered]], message.hasEnded {
        let path = message[":path"] ?? ""
        answers.withLock { $0[path, default: 0] += 1 }
        try talker.respond(talker.streams[answered], body: path + message.text)
        answered += 1
      }
    }
  }

  /// How often each path was answered.
  var counts: [String: Int] { answers.withLock { $0 } }
  var goAways: Int { leavings.load(ordering: .relaxed) }

  /// Once its connections are closed; what went wrong.
  func stop() -> [String] {
    for listener in listeners { shutdown(listener.fd, Int32(SHUT_RD)) }
    if !eventually({ running.load(ordering: .relaxed) == 0 }) { return ["connections remain"] }
    return failures.withLock { $0 }
  }
}
