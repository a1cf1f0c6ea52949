import Testing

@testable import ProxyCore

@Suite struct RetryAfterTests {
  /// 1994-11-06 08:49:37 UTC, the example of RFC 9110 §5.6.7.
  private let date: Int64 = 784_111_777

  @Test(arguments: [("0", 0), ("120", 120), (" 7\t", 7), ("86400", 86_400), ("99999999999999999999", 86_400)])
  func seconds(text: String, seconds: UInt64) {
    #expect(RetryAfter.parse(text.utf8, unixTime: 0) == .seconds(seconds))
  }

  @Test(arguments: ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"])
  func dates(text: String) {
    #expect(RetryAfter.parse(text.utf8, unixTime: date - 30) == .seconds(30))
    #expect(RetryAfter.parse(text.utf8, unixTime: date) == 0)
    #expect(RetryAfter.parse(text.utf8, unixTime: date + 30) == 0)
    #expect(RetryAfter.parse(text.utf8, unixTime: 0) == .seconds(86_400))
  }

  @Test func calendar() {
    for (text, time) in [
      ("Thu, 01 Jan 1970 00:00:10 GMT", 10), ("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199),
      ("Fri, 01 Mar 2024 00:00:00 GMT", 1_709_251_200), ("Wed, 01 Mar 2000 12:00:00 GMT", 951_912_000),
      ("Mon, 01 Mar 2100 00:00:00 GMT", 4_107_542_400), ("Wed Dec 31 00:00:00 2025", 1_767_139_200),
      ("Thursday, 31-Dec-76 00:00:00 GMT", 3_376_598_400),
    ] as [(String, Int64)] {
      #expect(RetryAfter.parse(text.utf8, unixTime: time - 5) == .seconds(5))
    }
    // From 2026 that is more than 50 years ahead, hence 1999.
    #expect(RetryAfter.parse("Friday, 31-Dec-99 00:00:00 GMT".utf8, unixTime: 1_780_000_000) == 0)
  }

  @Test(arguments: [
    "", " ", "-1", "+1", "1.5", "1 2", "12s", "999999999999999999999", "soon", "Sun", "Sun,", "Sunday",
    "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 6 Nov 1994 08:49:37 GMT",
    "Sun, 31 Nov 1994 08:49:37 GMT", "Sun, 29 Feb 2023 08:49:37 GMT", "Sun, 29 Feb 2100 08:49:37 GMT",
    "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
    "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 06 nov 1994 08:49:37 GMT", "Sun, 06 Nov 0000 08:49:37 GMT",
    "Sun Nov 6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37 GMT and much more than that",
  ])
  func neither(text: String) {
    #expect(RetryAfter.parse(text.utf8, unixTime: 0) == nil)
  }

  /// Any bytes are refused or give a day at most.
  @Test func garbage() {
    var random = SeededRandom(state: 81)
    let alphabet = Array("0123456789SunMoFriday, -:GMTNovDec".utf8)
    for _ in 0..<20_000 {
      let text = (0..<Int(random.next() % 45)).map { _ in alphabet[Int(random.next() % UInt64(alphabet.count))] }
      if let delay = RetryAfter.parse(text, unixTime: Int64(bitPattern: random.next())) {
        #expect(delay <= .seconds(86_400))
      }
    }
  }
}
