import MeshModel
import Testing

@testable import StubCore

struct ProgramTests {
  static let run = [
    "--pod", "shop/web-1", "--pod-ip", "10.0.0.9,fd00::9", "--service-account", "web", "--control",
    "weft-control:15010", "--ca-file", "/ca.pem", "--join", "[fd00::1]:15012", "--token-file=/token",
  ]

  @Test func runOptions() throws {
    let options = try RunOptions(Self.run)
    #expect(options.identity.description == "spiffe://cluster.local/ns/shop/sa/web")
    #expect(options.pod.addresses.count == 2 && options.drainSeconds == 25)
    #expect(options.credentials == .join(ControlAddress("[fd00::1]:15012")!, tokenFile: "/token"))
  }

  @Test func commandLinesThatCantBeUsed() {
    for (change, text) in [
      (["--pod", "web"], "--pod web is not NAMESPACE/NAME"), (["--pod-ip", "x"], "--pod-ip x is not an IP address"),
      (["--control", "x"], "--control x is not HOST:PORT"), (["--nonsense", "1"], "--nonsense is not an option"),
      (["--certificate", "/c"], "not beside them"), (["stray"], "stray is not an option"),
      (["--connections", "1"], "--connections 1 is not a number from 16 to 65536"), (["--key"], "--key needs a value"),
    ] {
      let error = #expect(throws: OptionError.self) { try RunOptions(Self.run + change) }
      #expect(error?.description.contains(text) == true, "\(change): \(error?.description ?? "")")
    }
  }

  @Test func initOptionsAndTheRulesOfIPTables() throws {
    let options = try InitOptions([
      "--exclude-outbound-ports", "25,443", "--exclude-inbound-ports", "9100", "--exclude-cidrs",
      "10.0.0.0/8,fd00::/8,192.0.2.1",
    ])
    let text = IPTablesRules.restore(options, family: .v4)
    #expect(text.contains("-A WEFT_OUTBOUND -d 10.0.0.0/8 -j RETURN") && !text.contains("fd00"))
    #expect(text.contains("-d 192.0.2.1/32") && text.contains("--uid-owner 61337 -j RETURN"))
    let lines = text.split(separator: "\n")
    let redirect = try #require(lines.firstIndex { $0.contains("REDIRECT --to-ports 15001") })
    let inbound = try #require(lines.firstIndex { $0.contains("REDIRECT --to-ports 15006") })
    // Exceptions come before what they are exceptions of.
    for (chain, end) in [("OUTBOUND", redirect), ("INBOUND", inbound)] {
      #expect(lines[end...].allSatisfy { !$0.hasPrefix("-A WEFT_\(chain)") || !$0.hasSuffix("RETURN") }, "\(chain)")
    }
    #expect(["15008", "15021", "9100"].allSatisfy { text.contains("-A WEFT_INBOUND -p tcp --dport \($0) -j RETURN") })
    for bad in ["10.0.0.0/33", "x", "10.0.0.0/8/8", "::/129"] { #expect(InitOptions.Network(bad) == nil, "\(bad)") }
    #expect(throws: OptionError.self) { try InitOptions(["--exclude-outbound-ports", "0"]) }
  }

  @Test func certificatesAreRenewedAtHalfOfTheirLife() {
    var random = CountingGenerator()
    var renewal = Renewal(now: 1000)
    #expect(renewal.isDue(now: 1000) && !renewal.isValid(now: 1000))
    renewal.began(now: 1000)
    #expect(!renewal.isDue(now: 1010))
    // Put back by less than usual, as a young CA does.
    renewal.succeeded(notBefore: 940, notAfter: 11_000, now: 1000, using: &random)
    #expect(5500...6500 ~= renewal.nextAttempt && renewal.isValid(now: 10_999) && !renewal.isValid(now: 11_000))
    var waits: [Int64] = []
    var now: Int64 = 6000
    for _ in 0..<10 {
      renewal.failed("no answer", now: now, using: &random)
      waits.append(renewal.nextAttempt - now)
      now = renewal.nextAttempt
    }
    #expect(waits.first == 1 && waits.allSatisfy { 1...60 ~= $0 } && waits.last! >= 30, "\(waits)")
    #expect(renewal.lastError == "no answer" && renewal.isValid(now: 10_000))
  }

  @Test func theApplicationsEndIsItsProcessesEnd() {
    var watch = ApplicationWatch()
    let before = [0, 0, 0, 0, 0].map { watch.hasEnded(others: $0, lastProcess: 7) }
    #expect(!before.contains(true), "before it began")
    let gaps = [2, 1, 0, 0, 1, 0, 0].map { watch.hasEnded(others: $0, lastProcess: 7) }
    #expect(!gaps.contains(true), "a gap between two processes")
    let ended = watch.hasEnded(others: 0, lastProcess: 7)
    #expect(ended)
  }

  @Test func anApplicationThatNobodyHasSeenHasEndedToo() {
    var watch = ApplicationWatch()
    var seen = [7, 7, 7, 7].map { watch.hasEnded(others: 0, lastProcess: $0) }
    // `weft-stub wait`, with the threads of the runtime that made it: seen while it connects, then gone.
    seen.append(watch.hasEnded(others: 1, lastProcess: 12))
    watch.asked(lastProcess: 13)
    seen += (0..<10).map { _ in watch.hasEnded(others: 0, lastProcess: 13) }
    #expect(!seen.contains(true), "it has yet to begin, however long that takes")
    let short = [18, 18, 18].map { watch.hasEnded(others: 0, lastProcess: $0) }
    #expect(!short.contains(true))
    let ended = watch.hasEnded(others: 0, lastProcess: 18)
    #expect(ended, "it ran between two looks")
  }

  @Test func timesAndJSON() {
    #expect(utcText(0) == "1970-01-01T00:00:00Z")
    #expect(utcText(951_782_399) == "2000-02-28T23:59:59Z" && utcText(951_782_400) == "2000-02-29T00:00:00Z")
    #expect(utcText(1_795_680_000) == "2026-11-26T08:00:00Z" && utcText(4_107_542_400) == "2100-03-01T00:00:00Z")
    var text = JSONText()
    text.set("a\"b", "line\n\u{1}\\")
    text.set("none", nil as String?)
    #expect(text.text == #"{"a\"b":"line\n\u0001\\","none":null}"#)
  }
}
