/// The messages of one `exec` over WebSocket (`v4.channel.k8s.io`, `v5.channel.k8s.io`): each begins with the byte of
/// its channel. Nothing is sent to the command.
struct ExecStreams {
  /// What standard error keeps; the rest of it is dropped.
  static let maximumErrors = 64 << 10
  /// Of the command's end: a `Status` object.
  static let maximumStatus = 64 << 10

  private enum Channel {
    static let output: UInt8 = 1
    static let errors: UInt8 = 2
    static let end: UInt8 = 3
  }

  /// Bytes of standard output.
  let maximumOutput: Int
  private var output: [UInt8] = []
  private var errors: [UInt8] = []
  private var status: Int?

  init(maximumOutput: Int) { self.maximumOutput = maximumOutput }

  /// The command has ended; what it wrote has been sent before.
  var hasEnded: Bool { status != nil }

  /// - Parameter message: a whole one, all its fragments together.
  mutating func received(_ message: some Collection<UInt8>) throws(ExecError) {
    guard let channel = message.first else { return }
    let content = message.dropFirst()
    // A server opens channels with an empty message each.
    guard !content.isEmpty else { return }
    switch channel {
    case Channel.output:
      guard output.count + content.count <= maximumOutput else { throw .tooLong(maximumOutput) }
      output += content
    case Channel.errors: errors += content.prefix(Self.maximumErrors - errors.count)
    case Channel.end: status = try Self.status(in: content)
    // Nothing else is said to a client; what a later version says beside it changes nothing.
    default: break
    }
  }

  /// The connection has ended.
  func outcome() throws(ExecError) -> ExecOutcome {
    guard let status else { throw .broken("it ended before the command's status was told") }
    return ExecOutcome(output: output, errors: errors, status: status)
  }

  /// A `Status`: Success, or Failure with the exit status among its causes.
  private static func status(in content: some Collection<UInt8>) throws(ExecError) -> Int {
    guard content.count <= maximumStatus, let told = try? JSONReader.read(content), let word = told["status"]?.text
    else { throw .broken("the command's status can't be read") }
    if word == "Success" { return 0 }
    let causes = told["details"]?["causes"]?.elements ?? []
    let code = causes.first { $0["reason"]?.text == "ExitCode" }?["message"]?.text
    if told["reason"]?.text == "NonZeroExitCode", let code, let status = Int(code), (1...255).contains(status) {
      return status
    }
    throw .notRun(String((told["message"]?.text ?? "no reason is told").prefix(500)))
  }
}
