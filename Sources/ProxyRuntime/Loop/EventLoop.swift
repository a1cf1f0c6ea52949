import CLinux
import Glibc
import ProxyCore

/// Who owns a descriptor in an `EventLoop`.
class EventSource {
  let fd: Int32
  fileprivate(set) var isRegistered = false

  init(fd: Int32) { self.fd = fd }

  /// - Parameter events: EPOLL* bits.
  func handle(_ events: UInt32) {}
}

/// Work that is put off within a tick.
protocol TickParticipant: AnyObject {
  func runInTick()
}

/// Something with a deadline; asked every `EventLoop.timerInterval`.
protocol Timed: AnyObject {
  func timerFired(now: NanoTime)
}

/// One thread's loop over epoll. Everything that it owns lives on that thread alone; others reach it through its
/// `Mailbox`.
///
/// A tick: the events that are ready, then what they scheduled (`schedule`), then the flushes (`scheduleFlush`), so
/// that all streams of a tick leave a tunnel in one write.
final class EventLoop {
  static let timerInterval: NanoTime = .milliseconds(100)
  static let scratchSize = 256 << 10
  private static let eventsPerTick = 512

  /// The time at the tick's start.
  private(set) var now: NanoTime
  /// For reads of applications' bytes; valid within one `handle` or `runInTick`.
  let scratch: UnsafeMutableRawBufferPointer
  /// For ciphertext, while `plaintext` holds what came out of it.
  let ciphertext: UnsafeMutableRawBufferPointer
  let plaintext: UnsafeMutableRawBufferPointer
  /// For choices and ids, none of them a secret.
  var random = FastRandom()

  private let epoll: Int32
  private let events: UnsafeMutablePointer<epoll_event>
  private let scheduled = TickList()
  private let flushes = TickList()
  private var timed: [ObjectIdentifier: any Timed] = [:]
  private let alarms = AlarmQueue()
  private var nextTimer: NanoTime = 0
  /// Sources removed in this tick: events that name them may still be in the batch.
  private var removed: [EventSource] = []
  /// What ended in this tick: calls that led to its end may still be on their way back.
  private var retired: [AnyObject] = []
  private var isRunning = true

  init() throws(SystemError) {
    epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
    guard epoll >= 0 else { throw SystemError(errno, "create an epoll descriptor") }
    events = .allocate(capacity: Self.eventsPerTick)
    scratch = .allocate(byteCount: Self.scratchSize, alignment: 64)
    ciphertext = .allocate(byteCount: Self.scratchSize, alignment: 64)
    plaintext = .allocate(byteCount: Self.scratchSize + TLSSession.recordSize, alignment: 64)
    now = Self.clock()
  }

  deinit {
    close(epoll)
    events.deallocate()
    scratch.deallocate()
    ciphertext.deallocate()
    plaintext.deallocate()
  }

  static func clock() -> NanoTime {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return NanoTime(time.tv_sec) * 1_000_000_000 + NanoTime(time.tv_nsec)
  }

  func add(_ source: EventSource, events: UInt32) throws(SystemError) {
    precondition(!source.isRegistered)
    let result = weft_epoll_add(epoll, source.fd, events, Unmanaged.passUnretained(source).toOpaque())
    guard result == 0 else { throw SystemError(-result, "watch a descriptor") }
    source.isRegistered = true
    _ = Unmanaged.passRetained(source)
  }

  /// - Parameter closing: the descriptor is closed right after, which takes it out of epoll by itself, as long as
  ///   no other process holds it.
  func remove(_ source: EventSource, closing: Bool = false) {
    guard source.isRegistered else { return }
    source.isRegistered = false
    if !closing { _ = weft_epoll_remove(epoll, source.fd) }
    removed.append(source)
    Unmanaged.passUnretained(source).release()
  }

  func schedule(_ participant: any TickParticipant) { scheduled.append(participant) }
  func scheduleFlush(_ participant: any TickParticipant) { flushes.append(participant) }

  func startTimer(_ timer: any Timed) { timed[ObjectIdentifier(timer)] = timer }
  func stopTimer(_ timer: any Timed) { timed[ObjectIdentifier(timer)] = nil }

  /// Keeps an object until the tick's end.
  func retire(_ object: AnyObject) { retired.append(object) }

  /// Calls `body` once after `delay` nanoseconds, to the millisecond, unless the alarm is cancelled. For what is rare and
  /// has to be exact (backoff, injected delays); a deadline that hardly ever strikes is a `Timed`'s.
  func after(_ delay: NanoTime, _ body: @escaping () -> Void) -> Alarm { alarms.add(at: now + delay, body) }

  func stop() { isRunning = false }

  func run() {
    while isRunning { tick() }
  }

  private func tick() {
    var timeout: Int32 = !scheduled.isEmpty || !flushes.isEmpty ? 0 : timed.isEmpty ? 1000 : 100
    if let next = alarms.next { timeout = min(timeout, alarms.milliseconds(until: next, from: Self.clock())) }
    let count = epoll_wait(epoll, events, Int32(Self.eventsPerTick), timeout)
    now = Self.clock()
    for index in 0..<max(0, Int(count)) {
      let source = Unmanaged<EventSource>.fromOpaque(weft_epoll_pointer(&events[index])).takeUnretainedValue()
      if source.isRegistered { source.handle(events[index].events) }
    }
    if now >= nextTimer {
      nextTimer = now + Self.timerInterval
      for timer in Array(timed.values) { timer.timerFired(now: now) }
    }
    alarms.run(now: now)
    scheduled.run()
    flushes.run()
    removed.removeAll(keepingCapacity: removed.capacity < 4096)
    if !retired.isEmpty { retired.removeAll(keepingCapacity: retired.capacity < 4096) }
  }
}

/// Participants in the order in which they asked. An object of its own, since those who run add to it.
private final class TickList {
  private var participants: [any TickParticipant] = []

  var isEmpty: Bool { participants.isEmpty }

  func append(_ participant: any TickParticipant) { participants.append(participant) }

  /// Runs what is there now; what is added meanwhile waits for the next tick.
  func run() {
    guard !participants.isEmpty else { return }
    var batch: [any TickParticipant] = []
    swap(&batch, &participants)
    for participant in batch { participant.runInTick() }
    if participants.isEmpty {
      batch.removeAll(keepingCapacity: true)
      swap(&batch, &participants)
    }
  }
}

/// A failed system call, in words.
public struct SystemError: Error, CustomStringConvertible {
  public let code: Int32
  public let action: String

  public init(_ code: Int32, _ action: String) {
    self.code = code
    self.action = action
  }

  public var description: String { "can't \(action): \(String(cString: strerror(code)))" }
}
