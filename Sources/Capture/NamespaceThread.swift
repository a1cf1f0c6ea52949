import CLinux
import Dispatch
import Glibc
import Synchronization

/// One thread that does what has to be done inside pods' network namespaces, a job at a time. No thread of a pool ever
/// changes its namespace.
public final class NamespaceThread: Sendable {
  private typealias Job = @Sendable () -> Void

  /// Shared with the thread, so that dropping the `NamespaceThread` ends it.
  private final class Queue: Sendable {
    let state = Mutex<(jobs: [Job], stopped: Bool)>(([], false))
    let wake = DispatchSemaphore(value: 0)
  }

  private let queue = Queue()
  /// Jobs waiting at most.
  public let capacity: Int

  public init(capacity: Int = 1_024) throws(CaptureError) {
    self.capacity = capacity
    var home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)
    guard home >= 0 else { throw .system("opening the own network namespace", code: errno, reason: .namespace) }
    let queue = self.queue
    let context = Unmanaged.passRetained(ThreadContext(home: home) { Self.work(queue) })
    var thread = pthread_t()
    let code = pthread_create(&thread, nil, NamespaceThread.main, context.toOpaque())
    guard code == 0 else {
      context.release()
      close(home)
      home = -1
      throw .system("starting the namespace thread", code: code)
    }
    pthread_detach(thread)
  }

  deinit {
    queue.state.withLock { $0.stopped = true }
    queue.wake.signal()
  }

  /// Jobs that wait for the one that runs.
  public var waiting: Int { queue.state.withLock { $0.jobs.count } }

  /// Runs `body` on the thread, which it may bring into other network namespaces.
  public func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
      enqueue(continuation) { continuation.resume(with: Swift.Result { try body() }) }
    }
  }

  /// Runs `body` on the thread inside `namespace`. It may block, and blocks the jobs after it while it does.
  public func run<Result: Sendable>(
    in namespace: NetworkNamespace, _ body: @escaping @Sendable () throws -> Result
  ) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
      enqueue(continuation) {
        let code = weft_netns_enter(namespace.descriptor)
        guard code == 0 else {
          let failure = CaptureError.system(
            "entering the network namespace \(namespace.inode)", code: code, reason: .namespace)
          continuation.resume(throwing: failure)
          return
        }
        continuation.resume(with: Swift.Result { try body() })
      }
    }
  }

  private func enqueue<Result>(
    _ continuation: CheckedContinuation<Result, any Error>, _ job: @escaping Job
  ) {
    let accepted = queue.state.withLock { state in
      guard state.jobs.count < capacity else { return false }
      state.jobs.append(job)
      return true
    }
    if accepted {
      queue.wake.signal()
    } else {
      let failure = CaptureError(.system, "\(capacity) jobs wait for the namespace thread: it's stuck or overloaded")
      continuation.resume(throwing: failure)
    }
  }

  private static func work(_ queue: Queue) -> Bool {
    queue.wake.wait()
    let (job, stopped) = queue.state.withLock { state -> (Job?, Bool) in
      state.jobs.isEmpty ? (nil, state.stopped) : (state.jobs.removeFirst(), false)
    }
    job?()
    return !stopped
  }

  private final class ThreadContext {
    let home: CInt
    /// One job; false: the end.
    let step: () -> Bool

    init(home: CInt, step: @escaping () -> Bool) {
      self.home = home
      self.step = step
    }
  }

  private static let main: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { raw in
    guard let raw else { return nil }
    let context = Unmanaged<ThreadContext>.fromOpaque(raw).takeRetainedValue()
    while context.step() {
      // Home between jobs, not to keep a pod's namespace alive. If it fails, the next job enters its own anyhow.
      _ = weft_netns_enter(context.home)
    }
    close(context.home)
    return nil
  }
}
