import CLinux
import Dispatch
import Foundation

/// Learns of the end of a child without a thread that waits.
enum ChildExit {
  private static let queue = DispatchQueue(label: "weft-lab.children")

  /// Calls `body` once, when the child has ended; its status is taken.
  static func watch(_ pid: Int32, _ body: @escaping @Sendable (ProcessEnd) -> Void) {
    let handle = weft_pidfd_open(pid)
    guard handle >= 0 else {
      DispatchQueue.global().async { body(wait(pid)) }
      return
    }
    let source = DispatchSource.makeReadSource(fileDescriptor: handle, queue: queue)
    source.setEventHandler {
      body(wait(pid))
      source.cancel()
    }
    source.setCancelHandler { close(handle) }
    source.activate()
  }

  /// The end of a child, awaited without blocking a thread.
  static func end(of pid: Int32) async -> ProcessEnd {
    await withCheckedContinuation { continuation in watch(pid) { continuation.resume(returning: $0) } }
  }

  private static func wait(_ pid: Int32) -> ProcessEnd {
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0 {
      // Not a child any more: someone else has taken its status.
      if errno != EINTR { return .code(255) }
    }
    return ProcessEnd(waitStatus: status)
  }
}

/// Work that blocks, off the threads of Swift's tasks: there are as many of these as cores.
enum Blocking {
  private static let queue = DispatchQueue(label: "weft-lab.blocking", attributes: .concurrent)

  static func run<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
      queue.async { continuation.resume(with: Result { try body() }) }
    }
  }
}
