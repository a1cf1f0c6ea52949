import ProxyCore

/// Something that is to be done once, at one time.
final class Alarm {
  fileprivate let deadline: NanoTime
  private var body: (() -> Void)?

  fileprivate init(deadline: NanoTime, body: @escaping () -> Void) {
    self.deadline = deadline
    self.body = body
  }

  func cancel() { body = nil }

  fileprivate func ring() {
    let body = body
    self.body = nil
    body?()
  }
}

/// Alarms in the order of their deadlines (a binary heap). A cancelled one stays until its time, without its work.
final class AlarmQueue {
  private var heap: [Alarm] = []

  var next: NanoTime? { heap.first?.deadline }

  /// Rounded up: woken early, the loop would turn for nothing.
  func milliseconds(until deadline: NanoTime, from now: NanoTime) -> Int32 {
    deadline <= now ? 0 : Int32(min(100, (deadline - now + 999_999) / 1_000_000))
  }

  func add(at deadline: NanoTime, _ body: @escaping () -> Void) -> Alarm {
    let alarm = Alarm(deadline: deadline, body: body)
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
    while let first = heap.first, first.deadline <= now {
      removeFirst()
      first.ring()
    }
  }

  private func removeFirst() {
    let last = heap.removeLast()
    guard !heap.isEmpty else { return }
    heap[0] = last
    var parent = 0
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
