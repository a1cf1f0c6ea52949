import FoundationEssentials
import Testing

@testable import CLI

@Suite struct OutputTests {
  @Test func tablesLeaveEmptyColumnsOut() {
    var table = Table(("A", .left), ("B", .left), ("C", .right))
    table.add("long", nil, "1")
    table.add("x", "", "100")
    #expect(table.render(none: "") == "A       C\nlong    1\nx     100\n")
    #expect(Table(("A", .left)).render(none: "Nothing.") == "Nothing.\n")
  }

  @Test func controlCharactersAreEscaped() {
    #expect(Text.printable("plain é ✓") == "plain é ✓")
    #expect(Text.printable("a\u{1b}[2J\nb\u{202e}\u{9b}") == "a\\u{1B}[2J\\nb\\u{202E}\\u{009B}")
  }

  @Test(arguments: [
    (0, "0 B"), (999, "999 B"), (1_000, "1.0 KB"), (999_999, "999.9 KB"), (1_000_000, "1.0 MB"),
    (12_345_678_901, "12.3 GB"), (Int.max, "9.2 EB"), (-1, "-1 B"),
  ]) func bytes(_ count: Int, _ text: String) {
    #expect(Text.bytes(count) == text)
  }

  @Test(arguments: [
    (0, "0s"), (59.9, "59s"), (60, "1m0s"), (3_599, "59m59s"), (3_600, "1h0m"), (90_000, "1d1h"), (-1, "?"),
    (Double.nan, "?"), (1e300, "?"),
  ]) func durations(_ seconds: Double, _ text: String) {
    #expect(Text.duration(seconds) == text)
  }

  @Test(arguments: [
    (0, "0.0 ms"), (0.254, "0.25 ms"), (12, "12.0 ms"), (999.99, "999.99 ms"), (1_000, "1.0 s"), (9_880.38, "9.88 s"),
    (-1, "?"), (Double.infinity, "?"),
  ]) func latencies(_ milliseconds: Double, _ text: String) {
    #expect(Text.milliseconds(milliseconds) == text)
  }

  @Test func prettyJSONKeepsWhatItGot() {
    let json = #"{"a":"x\"{,:]\\","b":[],"c":{ },"d":[1e5,-0.10,null],"é":{"f":true}}"#
    let pretty = PrettyJSON.format(Data(json.utf8))
    #expect(
      pretty == #"""
        {
          "a": "x\"{,:]\\",
          "b": [],
          "c": {},
          "d": [
            1e5,
            -0.10,
            null
          ],
          "é": {
            "f": true
          }
        }
        """#)
    #expect(PrettyJSON.format(Data(pretty.utf8)) == pretty)
    #expect(PrettyJSON.format(Data("}]".utf8)).count < 10)
  }

  @Test(arguments: [
    ([:], false), (["LANG": "en_US.UTF-8"], true), (["LANG": "C.utf8"], true), (["LANG": "C"], false),
    (["LC_ALL": "C", "LANG": "C.UTF-8"], false), (["LC_ALL": "", "LC_CTYPE": "C.UTF-8", "LANG": "C"], true),
  ]) func unicode(_ environment: [String: String], _ isUnicode: Bool) {
    #expect(Style(environment: { environment[$0] }).isUnicode == isUnicode)
  }
}
