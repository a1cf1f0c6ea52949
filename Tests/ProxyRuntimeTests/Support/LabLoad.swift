import Glibc
import ProxyCore
import Synchronization

@testable import ProxyRuntime

/// Clients on threads of their own, each of which asks one request after another over its connection until it is told
/// to stop.
final class LabLoad: Sendable {
  /// By status, with the flag of a refusal: `200`, `503 UO`.
  private let answers = Mutex<[String: Int]>([:])
  private let wantsEnd = Atomic(false)
  private let running = Atomic(0)
  private let failures = Mutex<[String]>([])

  /// - Parameters:
  ///   - clients: dealt out to the lab's workers.
  ///   - pause: microseconds after a refusal.
  init(_ lab: HTTPLab, clients: Int, pause: UInt32 = 1000) {
    let addresses = lab.entranceAddresses
    running.store(clients, ordering: .relaxed)
    for client in 0..<clients {
      _ = inBackground { [self] in
        defer { running.subtract(1, ordering: .relaxed) }
        do {
          let peer = HTTPPeer(try .connected(to: addresses[client % addresses.count]))
          var number = 0
          while !wantsEnd.load(ordering: .relaxed) {
            if try !ask(peer, "/\(client)/\(number)") { usleep(pause) }
            number += 1
          }
        } catch {
          failures.withLock { $0.append("client \(client): \(error)") }
        }
      }
    }
  }

  /// false: refused.
  private func ask(_ peer: HTTPPeer, _ path: String) throws -> Bool {
    try peer.get(path)
    let answer = try peer.read()
    let flag = answer["weft-reason"]?.split(separator: ":").first
    if flag == nil, answer.text != path { throw SystemError(EBADMSG, "read the answer to \(path)") }
    answers.withLock { $0["\(answer.status)" + (flag.map { " \($0)" } ?? ""), default: 0] += 1 }
    return flag == nil
  }

  var counts: [String: Int] { answers.withLock { $0 } }

  /// What went wrong with a connection.
  func stop() -> [String] {
    wantsEnd.store(true, ordering: .relaxed)
    if !eventually({ running.load(ordering: .relaxed) == 0 }) { return ["clients wait for ever"] }
    return failures.withLock { $0 }
  }
}

extension HTTPPeer {
  func ask(_ path: String = "/") throws -> Message {
    try get(path)
    return try read()
  }
}

extension HTTPPeer.Message {
  /// Whether the proxy itself gave this answer for that reason.
  func isRefusal(_ status: Int, _ flag: String) -> Bool {
    self.status == status && self["weft-reason"]?.hasPrefix("\(flag): ") == true
  }
  /// Of a `LabOrigin`.
  var endpoint: Int? { self["x-endpoint"].flatMap { Int($0) } }
}
