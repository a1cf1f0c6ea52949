import Testing

@testable import ProxyCore

@Suite struct HTTPDateTests {
  @Test func theFieldIsAddedWhereThereIsNone() {
    var date = HTTPDate()
    var head = HTTPHead()
    date.stamp(&head, unixTime: 784_111_777)
    #expect(head.lines == ["date: Sun, 06 Nov 1994 08:49:37 GMT"])
    date.stamp(&head, unixTime: 784_111_778)
    #expect(head.lines == ["date: Sun, 06 Nov 1994 08:49:37 GMT"])
    var other = HTTPHead()
    other.append("DATE", "of its own")
    date.stamp(&other, unixTime: 784_111_778)
    #expect(other.lines == ["DATE: of its own"])
  }

  private static let samples: [(Int64, String)] = [
    (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (-1, "Thu, 01 Jan 1970 00:00:00 GMT"),
    (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
    (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"), (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
    (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"), (1_735_689_600, "Wed, 01 Jan 2025 00:00:00 GMT"),
    (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"), (Int64.max, "Fri, 31 Dec 9999 23:59:59 GMT"),
  ]

  @Test(arguments: samples) func dates(unixTime: Int64, text: String) {
    var date = HTTPDate()
    // Nothing of the one before stays.
    var head = HTTPHead()
    date.stamp(&head, unixTime: 1_000_000_000)
    head.removeAll()
    date.stamp(&head, unixTime: unixTime)
    #expect(head.value("date") == text)
  }

  /// Read by another implementation, it is the same day.
  @Test func everyDayOfFourCenturies() {
    var date = HTTPDate()
    for day in 0..<146_097 as Range<Int64> {
      var head = HTTPHead()
      let time = day * 86_400 + day % 86_400
      date.stamp(&head, unixTime: time)
      let text = head.withBytes(of: head.fields[0].value) { Array($0) }
      let wait = RetryAfter.parse(text, unixTime: time - 60)
      #expect(wait == .seconds(60), "\(day)")
      guard wait == .seconds(60) else { return }
    }
  }
}
