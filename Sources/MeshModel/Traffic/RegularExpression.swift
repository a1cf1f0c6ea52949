/// A regular expression in RE2's syntax that has to match the whole text, in time linear in the text's length whatever
/// the pattern. Works on bytes: `.`, classes and `(?i)` know ASCII, and a literal outside it stands for its UTF-8 bytes.
///
/// Supported: literals, `.`, `[…]` with ranges, negation and `[:alpha:]`, `\d \w \s` and their negations, escapes
/// (`\n \r \t \f \v \a \xHH` and punctuation), `* + ? {m} {m,} {m,n}` (also non-greedy, which is the same here), `|`,
/// groups (plain, `(?:…)` and named), the flags `i` and `s`, `^ $ \A \z`. Refused: backreferences and lookaround, which
/// have no linear time; `\b`, Unicode classes and the flags `m` and `U`.
///
/// Immutable and without a cache, so that workers share it: a deterministic automaton is made at once where it stays
/// small (1 ns for each byte), else the nondeterministic one is followed (5 ns for each state and byte).
public struct RegularExpression: Sendable {
  /// Of a pattern, in bytes.
  public static let maximumLength = 1024
  /// Of the program that it becomes.
  public static let maximumStates = 10_000

  /// Behind one reference, so that to pass an expression on costs one count.
  private final class Machine: Sendable {
    let table: RegularExpressionTable?
    let program: RegularExpressionProgram?
    let literalPrefix: [UInt8]

    init(table: RegularExpressionTable?, program: RegularExpressionProgram?, literalPrefix: [UInt8]) {
      self.table = table
      self.program = program
      self.literalPrefix = literalPrefix
    }
  }

  private let machine: Machine

  /// What all of its texts begin with.
  public var literalPrefix: [UInt8] { machine.literalPrefix }

  public init(_ pattern: String) throws(RegularExpressionError) {
    try self.init(pattern, isDeterministic: true)
  }

  /// - Parameter isDeterministic: whether to try for the fast machine; tests compare both.
  init(_ pattern: String, isDeterministic: Bool) throws(RegularExpressionError) {
    guard pattern.utf8.count <= Self.maximumLength else {
      throw RegularExpressionError("the pattern is longer than \(Self.maximumLength) bytes", pattern: pattern, at: nil)
    }
    var parser = RegularExpressionParser(pattern)
    let node = try parser.parse()
    let program = try RegularExpressionProgram(node, pattern: pattern)
    let table = isDeterministic ? RegularExpressionTable(program) : nil
    machine = Machine(
      table: table, program: table == nil ? program : nil, literalPrefix: node.literalPrefix.bytes)
  }

  /// Whether the whole text matches.
  public func matches(_ text: UnsafeRawBufferPointer) -> Bool {
    machine.table?.matches(text) ?? machine.program?.matches(text) ?? false
  }

  public func matches(_ text: String) -> Bool {
    var text = text
    return text.withUTF8 { matches(UnsafeRawBufferPointer($0)) }
  }
}

/// Why a pattern can't be used, as a sentence for whoever wrote it.
public struct RegularExpressionError: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String

  /// - Parameter at: bytes from the pattern's start.
  init(_ reason: String, pattern: String, at position: Int?) {
    let shown = pattern.count > 60 ? "\(pattern.prefix(60))…" : pattern
    let place = position.map { " at byte \($0 + 1)" } ?? ""
    description = "the regular expression \"\(shown)\" is refused\(place): \(reason)"
  }
}
