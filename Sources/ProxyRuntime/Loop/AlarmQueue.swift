import ProxyCore

/// Something that is to be done once, at one time.
final class Alarm {
  fileprivate let deadline: NanoTime
  private var body: (() -> Void)?
  private let tally: AlarmTally

  fileprivate init(deadline: NanoTime, tally: AlarmTally, body: @escaping () -> Void) {
    self.deadline = deadline
    self.tally = tally
    self.body = body
  }

  /// Nothing happens where it has rung, or its queue is gone.
  func cancel() {
    guard body != nil else { return }
    body = nil
    tally.cancelled += 1
  }

  fileprivate var isCancelled: Bool { body == nil }

  fileprivate func ring() {
    let body = body
    self.body = nil
    body?()
  }
}

/// How many of a queue's alarms were cancelled. Both hold it: an alarm may outlive its queue.
private final class AlarmTally { var cancelled = 0 }

/// Alarms in the order of their deadlines (a binary heap). Cancelled ones lie in it until their time, or until they are
/// more than half of it: most alarms are timeouts that never strike.
final class AlarmQueue {
  /// So many cancelled ones aren't worth the work.
  private static let spared = 64

  private var heap: [Alarm] = []
  private let tally = AlarmTally()

  /// With the cancelled ones.
  var count: Int { heap.count }

  var next: NanoTime? { heap.first?.deadline }

  /// Rounded up: woken early, the loop would turn for nothing.
  func milliseconds(until deadline: NanoTime, from now: NanoTime) -> Int32 {
    deadline <= now ? 0 : Int32(min(100, (deadline - now + 999_999) / 1_000_000))
  }

  func add(at deadline: NanoTime, _ body: @escaping () -> Void) -> Alarm {
    compact()
    let alarm = Alarm(deadline: deadline, tally: tally, body: body)
    heap.append(alarm)
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard heap[child].deadline < heap[parent].deadline else { break }
      heap.swapAt(child, parent)
      child = parent
    }
    return alarm
  }

  func run(now: NanoTime) {
    compact()
    while let first = heap.first, first.deadline <= now {
      removeFirst()
      if first.isCancelled { tally.cancelled -= 1 } else { first.ring() }
    }
  }

  /// What it costs, the cancellations since the last time have paid for.
  private func compact() {
    guard tally.cancelled > max(Self.spared, heap.count / 2) else { return }
    heap.removeAll { $0.isCancelled }
    tally.cancelled = 0
    for parent in (0..<heap.count / 2).reversed() { sink(parent) }
  }

  private func removeFirst() {
    let last = heap.removeLast()
    guard !heap.isEmpty else { return }
    heap[0] = last
    sink(0)
  }

  private func sink(_ index: Int) {
    var parent = index
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
        if heap[child].deadline < heap[least].deadline { least = child }
      }
      guard least != parent else { return }
      heap.swapAt(parent, least)
      parent = least
    }
  }
}
