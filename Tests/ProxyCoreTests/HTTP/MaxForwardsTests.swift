import Testing

@testable import ProxyCore

@Suite struct MaxForwardsTests {
  private func forwarded(_ values: [String], method: String = "OPTIONS") -> [String]? {
    var head = HTTPHead.request("/", method: method)
    for value in values { head.append("Max-Forwards", value) }
    guard !MaxForwards.isSpent(&head) else { return nil }
    return head.fields.dropFirst().map { head.text($0.value) }
  }

  @Test(arguments: [
    (["1"], ["0"]), (["10"], ["9"]), (["007"], ["6"]), (["4294967296"], ["4294967294"]),
    (["99999999999999999999999"], ["4294967294"]), ([], []), (["3", "2"], ["2", "1"]),
    // No numbers.
    ([""], [""]), (["-1"], ["-1"]), (["1, 2"], ["1, 2"]), (["0x1"], ["0x1"]), (["1.0"], ["1.0"]),
  ])
  func hopsAreCounted(values: [String], left: [String]) {
    #expect(forwarded(values) == left)
    #expect(forwarded(values, method: "TRACE") == left)
    #expect(forwarded(values, method: "GET") == values)
  }

  @Test func nothingGoesOnAfterTheLastHop() {
    #expect(forwarded(["0"]) == nil && forwarded(["00"], method: "TRACE") == nil && forwarded(["5", "0"]) == nil)
    #expect(forwarded(["0"], method: "GET") == ["0"] && forwarded(["0"], method: "options") == ["0"])
  }
}
