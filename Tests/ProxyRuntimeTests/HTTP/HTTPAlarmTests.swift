import Testing

@testable import ProxyRuntime

@Suite struct HTTPAlarmTests {
  private final class Log { var rung: [Int] = [] }

  @Test func alarmsRingInTheOrderOfTheirTimes() {
    let queue = AlarmQueue()
    let log = Log()
    // 0 to 99, shuffled: 37 has no factor in common with 100.
    for index in 0..<100 {
      let time = index * 37 % 100
      _ = queue.add(at: UInt64(time)) { log.rung.append(time) }
    }
    #expect(queue.next == 0)
    queue.run(now: 49)
    #expect(log.rung == Array(0..<50) && queue.next == 50)
    queue.run(now: 1000)
    #expect(log.rung == Array(0..<100) && queue.next == nil)
  }

  @Test func aCancelledAlarmIsSilent() {
    let queue = AlarmQueue()
    let log = Log()
    let alarms = (0..<10).map { index in queue.add(at: UInt64(index)) { log.rung.append(index) } }
    for index in stride(from: 0, to: 10, by: 2) { alarms[index].cancel() }
    queue.run(now: 10)
    #expect(log.rung == [1, 3, 5, 7, 9])
    alarms[1].cancel()
    queue.run(now: 10)
    #expect(log.rung.count == 5)
  }

  @Test func anAlarmMaySetAndCancelOthers() {
    let queue = AlarmQueue()
    let log = Log()
    let victim = queue.add(at: 2) { log.rung.append(2) }
    _ = queue.add(at: 1) {
      log.rung.append(1)
      victim.cancel()
      _ = queue.add(at: 1) { log.rung.append(11) }
      _ = queue.add(at: 9) { log.rung.append(9) }
    }
    queue.run(now: 5)
    #expect(log.rung == [1, 11] && queue.next == 9)
  }

  @Test func cancelledAlarmsDoNotPileUp() {
    let queue = AlarmQueue()
    let log = Log()
    var most = 0
    for index in 0..<1_000_000 {
      // A hundred stay, in any order.
      let alarm = queue.add(at: UInt64(index * 7919 % 1_000_003)) { log.rung.append(index * 7919 % 1_000_003) }
      if index % 10_000 != 0 { alarm.cancel() }
      most = max(most, queue.count)
    }
    #expect(most <= 2 * 100 + 64 + 2)
    queue.run(now: 500_000)
    queue.run(now: 1_000_003)
    #expect(log.rung == stride(from: 0, to: 1_000_000, by: 10_000).map { $0 * 7919 % 1_000_003 }.sorted())
    #expect(queue.count == 0)
  }

  /// Many at once, and none after them: they go when the queue runs, whatever their time.
  @Test func aRunLetsCancelledAlarmsGo() {
    let queue = AlarmQueue()
    let log = Log()
    let alarms = (0..<1000).map { index in queue.add(at: UInt64(1000 - index)) { log.rung.append(1000 - index) } }
    for (index, alarm) in alarms.enumerated() where index % 3 != 0 {
      alarm.cancel()
      alarm.cancel()
    }
    queue.run(now: 0)
    #expect(queue.count == 334 && log.rung.isEmpty)
    // Those that have rung, and those cancelled twice, aren't counted again.
    queue.run(now: 500)
    for alarm in alarms { alarm.cancel() }
    queue.run(now: 0)
    #expect(queue.count == 0 && log.rung == (1...500).filter { $0 % 3 == 1 })
  }

  @Test func anAlarmMayOutliveItsQueue() {
    var queue: AlarmQueue? = AlarmQueue()
    let alarm = queue?.add(at: 1) {}
    queue = nil
    alarm?.cancel()
  }

  @Test func theLoopIsNeverWokenEarly() {
    let queue = AlarmQueue()
    #expect(queue.milliseconds(until: 10, from: 10) == 0 && queue.milliseconds(until: 9, from: 10) == 0)
    #expect(queue.milliseconds(until: 11, from: 10) == 1)
    #expect(queue.milliseconds(until: 1_000_010, from: 10) == 1 && queue.milliseconds(until: 1_000_011, from: 10) == 2)
    #expect(queue.milliseconds(until: .seconds(1000), from: 0) == 100)
  }
}
