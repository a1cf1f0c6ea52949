import Foundation
import Testing

@testable import Identity

@Suite struct RotationScheduleTests {
  let start = Date(timeIntervalSince1970: 1_800_000_000)

  @Test func renewsAtHalfLifeGiveOrTakeATenth() {
    var random = SeededGenerator()
    var attempts: Set<Date> = []
    for _ in 0..<200 {
      var schedule = RotationSchedule(now: start)
      #expect(schedule.state(now: start) == .missing && schedule.isDue(now: start))
      schedule.succeeded(
        notBefore: start.addingTimeInterval(-CertificateAuthority.backdating),
        notAfter: start.addingTimeInterval(1000), now: start, using: &random)
      let after = schedule.nextAttempt.timeIntervalSince(start)
      #expect((450...550).contains(after))
      attempts.insert(schedule.nextAttempt)
      #expect(schedule.state(now: start) == .valid)
      #expect(!schedule.isDue(now: schedule.nextAttempt.addingTimeInterval(-1)))
      #expect(schedule.isDue(now: schedule.nextAttempt))
      #expect(schedule.state(now: schedule.nextAttempt) == .renewing)
      #expect(schedule.state(now: start.addingTimeInterval(1000)) == .expired)
    }
    #expect(attempts.count > 150)
  }

  @Test func aMinutesCertificateIsNotDueAtOnce() {
    var random = SeededGenerator()
    var schedule = RotationSchedule(now: start)
    schedule.succeeded(
      notBefore: start.addingTimeInterval(-CertificateAuthority.backdating), notAfter: start.addingTimeInterval(60),
      now: start, using: &random)
    #expect((27...33).contains(schedule.nextAttempt.timeIntervalSince(start)))
  }

  /// A young CA can't put its certificates' start back, and a clock that lags thinks that they come from the future.
  @Test(arguments: [0.0, 3000, -3000]) func aLifeBeginsAtTheLatestWhenItIsSeen(start back: TimeInterval) {
    var random = SeededGenerator()
    var schedule = RotationSchedule(now: start)
    schedule.succeeded(
      notBefore: start.addingTimeInterval(-back), notAfter: start.addingTimeInterval(1000), now: start, using: &random)
    #expect((450...550).contains(schedule.nextAttempt.timeIntervalSince(start)))
  }

  @Test func whatWasMadeLongAgoIsDue() {
    var random = SeededGenerator()
    var schedule = RotationSchedule(now: start)
    schedule.succeeded(
      notBefore: start.addingTimeInterval(-CertificateAuthority.backdating - 900),
      notAfter: start.addingTimeInterval(100), now: start, using: &random)
    #expect(schedule.isDue(now: start))
  }

  @Test func backsOffAndRecovers() {
    var random = SeededGenerator()
    var schedule = RotationSchedule(now: start, retries: 1...60)
    var now = start
    var waits: [Double] = []
    for _ in 0..<12 {
      schedule.began()
      #expect(!schedule.isDue(now: now.addingTimeInterval(1000)))
      schedule.failed("the control plane is away", now: now, using: &random)
      #expect(schedule.lastError == "the control plane is away")
      waits.append(schedule.nextAttempt.timeIntervalSince(now))
      now = schedule.nextAttempt
      #expect(schedule.isDue(now: now))
      #expect(schedule.state(now: now) == .missing)
    }
    for (index, wait) in waits.enumerated() {
      let step = min(60, Double(1 << index))
      #expect((step / 2 - 0.001...step + 0.001).contains(wait))
    }
    schedule.began()
    schedule.succeeded(
      notBefore: now.addingTimeInterval(-60), notAfter: now.addingTimeInterval(600), now: now, using: &random)
    #expect(schedule.state(now: now) == .valid && schedule.lastError == nil)
    schedule.failed("again", now: now, using: &random)
    #expect(schedule.state(now: now) == .renewing)
    #expect(schedule.nextAttempt.timeIntervalSince(now) <= 1.001)
  }
}
