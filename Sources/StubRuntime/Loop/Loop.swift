import CLinux
import CStub
import Glibc

/// Who owns a descriptor in a `Loop`.
class EventSource {
  let fd: Int32
  fileprivate(set) var isRegistered = false

  init(fd: Int32) { self.fd = fd }

  /// - Parameter events: EPOLL* bits.
  func handle(_ events: UInt32) {}

  /// What was put off within a tick.
  func runInTick() {}

  /// Once a second.
  func sweep(now: Int64) {}
}

/// The stub's one loop over epoll, edge-triggered. A tick: the events, what they scheduled, then the flushes, so that all
/// streams of a tick leave a tunnel together.
final class Loop {
  static let edgeTriggered =
    EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLRDHUP.rawValue | (UInt32(1) << 31)
  static let scratchSize = 64 << 10
  private static let eventsPerTick = 64

  /// Nanoseconds of a clock that doesn't jump, at the tick's start.
  private(set) var now: Int64
  /// Valid within one call.
  let scratch: UnsafeMutableRawBufferPointer
  /// For what leaves, while `scratch` holds what came.
  let outgoing: UnsafeMutableRawBufferPointer
  var random = SystemRandomNumberGenerator()

  private let epoll: Int32
  private let events: UnsafeMutablePointer<epoll_event>
  private var sources: [ObjectIdentifier: EventSource] = [:]
  private var scheduled: [EventSource] = []
  private var flushes: [HTTP2Connection] = []
  private var timers: [(at: Int64, body: () -> Void)] = []
  /// Removed in this tick: events that name them may still be in the batch, and calls be on their way back.
  private var removed: [AnyObject] = []
  private var nextSweep: Int64 = 0
  private var isRunning = true

  init() throws(SystemFailure) {
    epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
    guard epoll >= 0 else { throw SystemFailure(errno, "make an epoll descriptor") }
    events = .allocate(capacity: Self.eventsPerTick)
    scratch = .allocate(byteCount: Self.scratchSize, alignment: 64)
    outgoing = .allocate(byteCount: Self.scratchSize, alignment: 64)
    now = Self.clock()
  }

  static func clock() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }

  /// Seconds since 1970.
  static func wallClock() -> Int64 { Int64(time(nil)) }

  func add(_ source: EventSource, events: UInt32 = Loop.edgeTriggered) throws(SystemFailure) {
    let result = weft_epoll_add(epoll, source.fd, events, Unmanaged.passUnretained(source).toOpaque())
    guard result == 0 else { throw SystemFailure(-result, "watch a descriptor") }
    source.isRegistered = true
    sources[ObjectIdentifier(source)] = source
  }

  /// Closes the descriptor.
  func close(_ source: EventSource) {
    guard source.isRegistered else { return }
    source.isRegistered = false
    // A child that looks a name up holds it too: closing alone would leave it in epoll, with a pointer to what is freed.
    _ = weft_epoll_remove(epoll, source.fd)
    Glibc.close(source.fd)
    removed.append(source)
    sources[ObjectIdentifier(source)] = nil
  }

  func schedule(_ source: EventSource) { scheduled.append(source) }
  func scheduleFlush(_ connection: HTTP2Connection) { flushes.append(connection) }

  /// Keeps an object until the tick's end.
  func retire(_ object: AnyObject) { removed.append(object) }

  /// Calls `body` once. For what is rare.
  func after(seconds: Double, _ body: @escaping () -> Void) {
    timers.append((now + Int64(seconds * 1e9), body))
  }

  func stop() { isRunning = false }

  func run() {
    while isRunning { tick() }
  }

  private func tick() {
    let isBusy = !scheduled.isEmpty || !flushes.isEmpty
    let count = epoll_wait(epoll, events, Int32(Self.eventsPerTick), isBusy ? 0 : patience())
    now = Self.clock()
    for index in 0..<max(0, Int(count)) {
      let source = Unmanaged<EventSource>.fromOpaque(weft_epoll_pointer(&events[index])).takeUnretainedValue()
      if source.isRegistered { source.handle(events[index].events) }
    }
    runScheduled()
    if now >= nextSweep {
      nextSweep = now + 1_000_000_000
      for source in Array(sources.values) where source.isRegistered { source.sweep(now: now) }
    }
    runTimers()
    runFlushes()
    if !removed.isEmpty { removed.removeAll(keepingCapacity: removed.capacity < 256) }
  }

  /// Milliseconds.
  private func patience() -> Int32 {
    let next = timers.reduce(now + 1_000_000_000) { min($0, $1.at) }
    return Int32(clamping: max(0, (next - Self.clock() + 999_999) / 1_000_000))
  }

  private func runScheduled() {
    guard !scheduled.isEmpty else { return }
    var batch: [EventSource] = []
    swap(&batch, &scheduled)
    for source in batch where source.isRegistered { source.runInTick() }
  }

  private func runTimers() {
    guard timers.contains(where: { $0.at <= now }) else { return }
    let due = timers.filter { $0.at <= now }
    timers.removeAll { $0.at <= now }
    for timer in due { timer.body() }
  }

  private func runFlushes() {
    guard !flushes.isEmpty else { return }
    var batch: [HTTP2Connection] = []
    swap(&batch, &flushes)
    for connection in batch { connection.flush() }
    guard flushes.isEmpty else { return }
    batch.removeAll(keepingCapacity: true)
    swap(&batch, &flushes)
  }
}

/// A failed system call, in words.
struct SystemFailure: Error, CustomStringConvertible {
  let code: Int32
  let action: String

  init(_ code: Int32, _ action: String) {
    self.code = code
    self.action = action
  }

  var description: String { "can't \(action): \(String(cString: strerror(code)))" }
}
