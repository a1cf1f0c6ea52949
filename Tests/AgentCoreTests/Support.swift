import CLinux
import Foundation
import Glibc

@testable import AgentCore

let isRoot = geteuid() == 0

/// A folder of one test's own, readable by every user; gone with the value.
final class TemporaryFolder {
  let path: String

  init() throws {
    var template = Array("/tmp/weft-agent-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw AgentError("no temporary folder: \(errno)") }
    path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    chmod(path, 0o755)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  @discardableResult
  func write(_ text: String, to name: String, mode: mode_t = 0o644) throws -> String {
    let path = "\(self.path)/\(name)"
    try text.write(toFile: path + ".tmp", atomically: false, encoding: .utf8)
    chmod(path + ".tmp", mode)
    guard rename(path + ".tmp", path) == 0 else { throw AgentError("can't write \(path)") }
    return path
  }
}

/// Whether the condition comes to hold within the time.
func eventually(
  seconds: Double = 10, isolation: isolated (any Actor)? = #isolation, _ condition: () async throws -> Bool
) async rethrows -> Bool {
  let end = Date.now.addingTimeInterval(seconds)
  while Date.now < end {
    if try await condition() { return true }
    try? await Task.sleep(for: .milliseconds(10))
  }
  return try await condition()
}

/// Two connected, non-blocking Unix sockets.
func socketPair() throws -> (Int32, Int32) {
  var ends: [Int32] = [-1, -1]
  let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
  guard socketpair(AF_UNIX, type, 0, &ends) == 0 else { throw AgentError("no socket pair: \(errno)") }
  return (ends[0], ends[1])
}

/// The file behind a descriptor; nil where it is closed.
func identity(of descriptor: Int32) -> UInt64? {
  var info = stat()
  return fstat(descriptor, &info) == 0 ? UInt64(info.st_ino) : nil
}

/// Runs what blocks on a thread of its own: the pool's few are the agent's.
func onThread<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
  try await withCheckedThrowingContinuation { continuation in
    Thread.detachNewThread { continuation.resume(with: Swift.Result { try body() }) }
  }
}
