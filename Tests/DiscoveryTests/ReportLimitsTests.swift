import Testing

@testable import Discovery

@Suite struct ReportLimitsTests {
  @Test func aNodeReportsSoManyPodsAMinute() {
    var limits = ReportLimits()
    let some = limits.admit(ReportLimits.pods - 1, of: "a", now: 0)
    let tooMany = limits.admit(2, of: "a", now: 1)
    let theLast = limits.admit(1, of: "a", now: 59)
    let oneMore = limits.admit(1, of: "a", now: 59.9)
    #expect(some && !tooMany && theLast && !oneMore, "what isn't taken doesn't count")
    let ofAnother = limits.admit(ReportLimits.pods, of: "b", now: 59.9)
    let aMinuteLater = limits.admit(ReportLimits.pods, of: "a", now: 60)
    #expect(ofAnother && aMinuteLater)
  }
}
