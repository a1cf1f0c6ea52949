import Testing

@testable import MeshModel

@Suite struct RegularExpressionTests {
  @Test(arguments: [
    ("", "", true), ("", "a", false), ("abc", "abc", true), ("abc", "abcd", false), ("abc", "xabc", false),
    ("a.c", "a-c", true), ("a.c", "a\nc", false), ("(?s)a.c", "a\nc", true), ("a*", "aaaa", true), ("a+", "", false),
    ("a?b", "b", true), ("a{2}", "aa", true), ("a{2}", "aaa", false), ("a{2,}", "aaaa", true),
    ("a{1,3}", "aaaa", false),
    ("a{0}", "", true), ("a{,3}", "a{,3}", true), ("a{x", "a{x", true), ("x{2}{", "xx{", true), ("a|bc|", "", true),
    ("a|bc|", "bc", true), ("(a|b)*c", "ababc", true), ("(?:ab)+", "abab", true), ("(?P<n>a)(?<m>b)", "ab", true),
    ("[a-c]+", "abcabc", true), ("[^a-c]", "d", true), ("[^a-c]", "b", false), ("[]a]+", "]a", true),
    ("[a-]+", "a-a", true), ("[-a]+", "-a", true), ("[\\d.]+", "1.5", true), ("[\\]]", "]", true), ("[^]]", "x", true),
    ("[[:alpha:]_]+", "aZ_", true), ("[[:^digit:]]", "1", false), ("\\d\\D\\w\\W\\s\\S", "1a_- x", true),
    ("\\x41\\.\\/", "A./", true), ("\\t\\n", "\t\n", true), ("(?i)Ab[c-d]", "aBD", true), ("(?i:a)b", "Ab", true),
    ("(?i:a)b", "AB", false), ("a(?i)b|c", "aB", true), ("a(?i)b|c", "C", true), ("(a(?i)b)c", "aBC", false),
    ("(?i-s)a(?-i)b", "AB", false), ("^abc$", "abc", true), ("a^b", "ab", false), ("(^|x)a($|y)", "xay", true),
    ("(^|x)a($|y)", "a", true), ("^*a$?", "a", true), ("$^", "", true), ("$a", "a", false), ("\\Aa\\z", "a", true),
    ("é+", "éé", true), ("é+", "é\u{A9}", false), ("..", "é", true), ("a+?b*?", "aab", true), ("(a*)*", "aaa", true),
    ("(a*)+b", "aab", true), ("()*x", "x", true), ("(|a)+", "aa", true),
    ("/v[0-9]+/users/[^/]+", "/v12/users/jo", true),
    ("/v[0-9]+/users/[^/]+", "/v12/users/jo/x", false), ("(?i)[^a]", "A", false), (".*", "any text", true),
  ])
  func wholeTexts(_ pattern: String, _ text: String, _ expected: Bool) throws {
    #expect(try RegularExpression(pattern).matches(text) == expected)
    #expect(try RegularExpression(pattern, isDeterministic: false).matches(text) == expected)
  }

  @Test(arguments: [
    ("(a)\\1", "at byte 4: backreferences"), ("a(?=b)", "at byte 2: lookaround"), ("(?<!b)", "at byte 1: lookaround"),
    ("(?<=b)", "lookaround"), ("(?!b)", "lookaround"), ("(?>a)", "atomic"), ("a++", "possessive"),
    ("a**", "a repetition of"),
    ("a*{2}", "a repetition of"), ("*a", "at byte 1: nothing"), ("(|*)", "at byte 3: nothing"),
    ("(a", "at byte 1: a ( without"),
    ("a)", "at byte 2: a ) without"), ("[a", "at byte 1: a [ without"), ("[]", "a [ without"), ("[b-a]", "a range"),
    ("[\\d-z]", "a range"), ("[é]", "ASCII"), ("\\b", "word boundaries"), ("\\pL", "Unicode"),
    ("\\y", "unknown escape"),
    ("\\", "a \\ at the end"), ("\\x4", "\\x takes"), ("[[:foo:]]", "unknown class"), ("(?m)a", "isn't supported"),
    ("(?", "a ( without"), ("(?P<n", "a group's name"), ("a{2,1}", "at byte 2: a repetition whose"),
    ("a{1001}", "more than 1000"), ("a{99999999999999999999}", "more than 1000"),
    ("((a{500}){500})", "more than 10000"),
    ("(((){1000}){1000}){1000}", "more than 10000"), (String(repeating: "(", count: 101), "groups within"),
    (String(repeating: "a", count: 1025), "longer than 1024"),
  ])
  func refusalsSayWhyAndWhere(_ pattern: String, _ reason: String) {
    #expect(throws: RegularExpressionError.self) { try RegularExpression(pattern) }
    do throws(RegularExpressionError) {
      _ = try RegularExpression(pattern)
    } catch {
      #expect(error.description.contains(reason), "\(error)")
    }
  }

  /// Exponential with backtracking; some too large for the deterministic machine.
  @Test(arguments: [
    "(a+)+$", "(a|a)*b", "(a*)*b", "(a|aa)+c", "(.*)(.*)(.*)(.*)(.*)x", "(a?){200}a{200}", "(a|b)*a(a|b){20}",
    "(x+x+)+y|(a{1,50}){1,50}z",
  ])
  func catastrophicPatternsAreLinear(_ pattern: String) throws {
    let expression = try RegularExpression(pattern)
    var best: [Duration] = []
    for length in [1_000, 4_000] {
      let text = String(repeating: "a", count: length) + "!"
      let times = (0..<3).map { _ in ContinuousClock().measure { #expect(!expression.matches(text)) } }
      best.append(times.min() ?? .zero)
    }
    // Four times the text: quadratic would be 16 times, and exponential never end.
    #expect(best[1] < best[0] * 10 + .milliseconds(5))
  }

  @Test func patternsThatNeedManyStatesFallBackToFollowingAllAtOnce() throws {
    let expression = try RegularExpression("(a|b)*a(a|b){14}")
    #expect(expression.matches("bab" + String(repeating: "b", count: 13)))
    #expect(!expression.matches("bbb" + String(repeating: "b", count: 13)))
    #expect(try RegularExpression("(ab{0,900}c?){1,5}").matches("abbbbc"))
  }

  // MARK: Against a naive matcher

  @Test func randomPatternsAgreeWithANaiveMatcher() throws {
    var random = RoutingRandom(state: 5)
    var matched = 0
    for _ in 0..<800 {
      let tree = NaiveExpression.random(depth: 4, using: &random)
      let fast = try RegularExpression(tree.pattern)
      let slow = try RegularExpression(tree.pattern, isDeterministic: false)
      for _ in 0..<12 {
        let text = (0..<Int.random(in: 0...6, using: &random)).map { _ in "abc".randomElement(using: &random)! }
        let expected = tree.ends(text, 0).contains(text.count)
        if expected { matched += 1 }
        #expect(fast.matches(String(text)) == expected, "\(tree.pattern) on \(String(text))")
        #expect(slow.matches(String(text)) == expected, "\(tree.pattern) on \(String(text))")
      }
    }
    #expect(matched > 300)
  }

  @Test func randomBytesAsPatternsNeverCrash() {
    var random = RoutingRandom(state: 9)
    let alphabet = Array("ab(|)*+?{}[]^$\\.-,12:=!<>iPsd é")
    var readable = 0
    for _ in 0..<3000 {
      let pattern = String(
        (0..<Int.random(in: 0...12, using: &random)).map { _ in alphabet.randomElement(using: &random)! })
      guard let expression = try? RegularExpression(pattern) else { continue }
      readable += 1
      let other = try? RegularExpression(pattern, isDeterministic: false)
      #expect(expression.matches("ab1a") == other?.matches("ab1a"))
    }
    #expect(readable > 300)
  }
}

/// Sets of ends, tried one by one: slow and obviously right.
private indirect enum NaiveExpression {
  case letters(String, isInverted: Bool)
  case any
  case start
  case end
  case sequence([NaiveExpression])
  case alternatives([NaiveExpression])
  case repetition(NaiveExpression, Int, Int?, String)

  static func random(depth: Int, using random: inout RoutingRandom) -> NaiveExpression {
    func part() -> NaiveExpression { .random(depth: depth - 1, using: &random) }
    func parts() -> [NaiveExpression] { (0..<Int.random(in: 0...3, using: &random)).map { _ in part() } }
    switch Int.random(in: depth > 0 ? 0...11 : 6...11, using: &random) {
    case 0, 1: return .sequence(parts())
    case 2: return .alternatives(parts() + [part()])
    case 3: return .repetition(part(), 0, nil, "*")
    case 4: return .repetition(part(), 1, nil, "+?")
    case 5:
      let low = Int.random(in: 0...2, using: &random)
      let high = low + Int.random(in: 0...2, using: &random)
      return .repetition(part(), low, high, "{\(low),\(high)}")
    case 6: return .any
    case 7: return [.start, .end].randomElement(using: &random)!
    case 8: return .letters("bc", isInverted: Bool.random(using: &random))
    default: return .letters(String("abc".randomElement(using: &random)!), isInverted: false)
    }
  }

  var pattern: String {
    switch self {
    case .letters(let letters, let isInverted): letters.count == 1 ? letters : "[\(isInverted ? "^" : "")\(letters)]"
    case .any: "."
    case .start: "^"
    case .end: "$"
    case .sequence(let parts): "(?:\(parts.map(\.pattern).joined()))"
    case .alternatives(let parts): "(\(parts.map(\.pattern).joined(separator: "|")))"
    case .repetition(let part, _, _, let suffix): "(\(part.pattern))\(suffix)"
    }
  }

  func ends(_ text: [Character], _ from: Int) -> Set<Int> {
    switch self {
    case .letters(let letters, let isInverted):
      return from < text.count && letters.contains(text[from]) != isInverted ? [from + 1] : []
    case .any: return from < text.count ? [from + 1] : []
    case .start: return from == 0 ? [0] : []
    case .end: return from == text.count ? [from] : []
    case .sequence(let parts):
      return parts.reduce([from]) { places, part in Set(places.flatMap { part.ends(text, $0) }) }
    case .alternatives(let parts): return Set(parts.flatMap { $0.ends(text, from) })
    case .repetition(let part, let low, let high, _):
      var current: Set<Int> = [from]
      var all: Set<Int> = low == 0 ? current : []
      // Beyond this many rounds nothing new is reached.
      for round in 1...max(1, min(high ?? .max, low + text.count + 1)) where round <= high ?? .max {
        current = Set(current.flatMap { part.ends(text, $0) })
        if round >= low { all.formUnion(current) }
      }
      return all
    }
  }
}
