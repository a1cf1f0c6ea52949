import CLinux
import Glibc
import Synchronization

@testable import ProxyRuntime

/// What a thread came to.
final class BackgroundResult<T: Sendable>: Sendable {
  private let result = Mutex<Result<T, any Error>?>(nil)
  private let done = eventfd(0, Int32(EFD_CLOEXEC))

  func set(_ value: Result<T, any Error>) {
    result.withLock { $0 = value }
    eventfd_write(done, 1)
  }

  /// Waits at most 30 seconds.
  func get() throws -> T {
    var poll = pollfd(fd: done, events: Int16(POLLIN), revents: 0)
    guard Glibc.poll(&poll, 1, 30_000) == 1, let value = result.withLock({ $0 }) else {
      throw SystemError(ETIMEDOUT, "wait for a thread")
    }
    return try value.get()
  }

  deinit { close(done) }
}
