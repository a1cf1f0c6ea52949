import Testing

@testable import KubernetesAPI

@Suite struct ExecStreamsTests {
  private static func message(_ channel: UInt8, _ text: String) -> [UInt8] { [channel] + Array(text.utf8) }

  private static let success = message(3, #"{"metadata":{},"status":"Success"}"#)

  private static func failure(_ code: String, reason: String = "NonZeroExitCode") -> [UInt8] {
    message(
      3,
      #"{"status":"Failure","reason":"\#(reason)","message":"it \#u{1b}ended","details":{"causes":[{"reason":"Other","message":"1"},"#
        + #"{"reason":"ExitCode","message":"\#(code)"}]}}"#)
  }

  @Test func outputInPiecesThenTheStatus() throws {
    var streams = ExecStreams(maximumOutput: 100)
    // An empty message opens each channel.
    for message in [[], [1], [2], [3], Self.message(1, "a"), Self.message(2, "e"), Self.message(1, "b")] {
      try streams.received(message)
    }
    #expect(!streams.hasEnded)
    try streams.received(Self.success)
    #expect(streams.hasEnded)
    #expect(try streams.outcome() == ExecOutcome(output: Array("ab".utf8), errors: Array("e".utf8), status: 0))
  }

  @Test func theExitStatus() throws {
    for code in ["1", "7", "255"] {
      var streams = ExecStreams(maximumOutput: 0)
      try streams.received(Self.failure(code))
      #expect(try streams.outcome().status == Int(code))
    }
  }

  @Test(arguments: [
    failure("0"), failure("256"), failure("-1"), failure("x"), failure("1", reason: "InternalError"),
    message(3, #"{"status":"Failure"}"#),
  ]) func aFailureWithoutAnExitStatus(_ message: [UInt8]) {
    var streams = ExecStreams(maximumOutput: 0)
    let error = #expect(throws: ExecError.self) { try streams.received(message) }
    guard case .notRun = error else {
      Issue.record("\(String(describing: error))")
      return
    }
  }

  @Test(arguments: ["x", "[]", #"{"status":7}"#, "\u{0}"]) func aStatusThatIsNone(_ text: String) {
    var streams = ExecStreams(maximumOutput: 0)
    #expect(throws: ExecError.broken("the command's status can't be read")) {
      try streams.received(Self.message(3, text))
    }
  }

  @Test func bounds() throws {
    var streams = ExecStreams(maximumOutput: 3)
    try streams.received(Self.message(1, "abc"))
    #expect(throws: ExecError.tooLong(3)) { try streams.received(Self.message(1, "d")) }
    for _ in 0..<3 { try streams.received([2] + Array(repeating: 0x65, count: 40 << 10)) }
    try streams.received(Self.success)
    #expect(try streams.outcome().errors.count == ExecStreams.maximumErrors)
    let long = Self.message(3, #"{"status":"Success","message":""# + String(repeating: "x", count: 64 << 10) + #""}"#)
    #expect(throws: ExecError.self) { try streams.received(long) }
  }

  @Test func otherChannelsSayNothing() throws {
    var streams = ExecStreams(maximumOutput: 10)
    for channel: UInt8 in [0, 4, 255] { try streams.received(Self.message(channel, "x")) }
    try streams.received(Self.success)
    #expect(try streams.outcome().output.isEmpty)
  }

  @Test func anEndWithoutAStatus() throws {
    var streams = ExecStreams(maximumOutput: 10)
    try streams.received(Self.message(1, "half"))
    #expect(throws: ExecError.self) { try streams.outcome() }
  }
}
