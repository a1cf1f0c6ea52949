/// A nondeterministic automaton (Thompson 1968), followed in all of its states at once (Pike's VM without captures).
struct RegularExpressionProgram: Sendable {
  enum Instruction: Sendable {
    /// An index into `sets`, then the next instruction.
    case take(Int)
    case jump(Int)
    case split(Int, Int)
    case start
    case end
    case accept
  }

  private(set) var instructions: [Instruction] = []
  private(set) var sets: [ByteSet] = []
  private var setIndexes: [ByteSet: Int] = [:]
  /// Bounds the time that repetitions of nothing take, which emit no instructions.
  private var visits = 0

  init(_ node: RegularExpressionNode, pattern: String) throws(RegularExpressionError) {
    guard add(node), emit(.accept) else {
      throw RegularExpressionError(
        "its repetitions need more than \(RegularExpression.maximumStates) states", pattern: pattern, at: nil)
    }
    setIndexes = [:]
  }

  // MARK: Making

  private mutating func emit(_ instruction: Instruction) -> Bool {
    instructions.append(instruction)
    return instructions.count <= RegularExpression.maximumStates
  }

  /// False: too large.
  private mutating func add(_ node: RegularExpressionNode) -> Bool {
    visits += 1
    guard visits <= 4 * RegularExpression.maximumStates else { return false }
    switch node {
    case .start: return emit(.start)
    case .end: return emit(.end)
    case .set(let set):
      let index = setIndexes[set] ?? sets.count
      if index == sets.count {
        sets.append(set)
        setIndexes[set] = index
      }
      return emit(.take(index))
    case .sequence(let nodes):
      for node in nodes {
        guard add(node) else { return false }
      }
      return true
    case .alternatives(let nodes): return add(alternatives: nodes)
    case .repetition(let node, let minimum, let maximum):
      for _ in 0..<minimum {
        guard add(node) else { return false }
      }
      guard let maximum else { return add(endless: node) }
      return add(optional: node, count: maximum - minimum)
    }
  }

  private mutating func add(alternatives nodes: [RegularExpressionNode]) -> Bool {
    var exits: [Int] = []
    for (index, node) in nodes.enumerated() {
      guard index < nodes.count - 1 else {
        guard add(node) else { return false }
        break
      }
      let split = instructions.count
      guard emit(.jump(0)), add(node) else { return false }
      exits.append(instructions.count)
      guard emit(.jump(0)) else { return false }
      instructions[split] = .split(split + 1, instructions.count)
    }
    for exit in exits { instructions[exit] = .jump(instructions.count) }
    return true
  }

  private mutating func add(endless node: RegularExpressionNode) -> Bool {
    let split = instructions.count
    guard emit(.jump(0)), add(node), emit(.jump(split)) else { return false }
    instructions[split] = .split(split + 1, instructions.count)
    return true
  }

  private mutating func add(optional node: RegularExpressionNode, count: Int) -> Bool {
    var splits: [Int] = []
    for _ in 0..<count {
      splits.append(instructions.count)
      guard emit(.jump(0)), add(node) else { return false }
    }
    for split in splits { instructions[split] = .split(split + 1, instructions.count) }
    return true
  }

  // MARK: Following

  /// Whether the whole text matches. Memory for small programs is on the stack.
  func matches(_ text: UnsafeRawBufferPointer) -> Bool {
    let count = instructions.count
    return withUnsafeTemporaryAllocation(of: UInt16.self, capacity: 6 * count + 2) { memory in
      memory.initialize(repeating: 0)
      guard let base = memory.baseAddress else { return false }
      var current = StateList(base, capacity: count)
      var following = StateList(base + 2 * count, capacity: count)
      let stack = base + 4 * count
      add(0, to: &current, stack, isStart: true, isEnd: text.isEmpty)
      for (index, byte) in text.enumerated() {
        guard current.count > 0 else { return false }
        following.count = 0
        for place in 0..<current.count {
          let state = Int(current[place])
          if case .take(let set) = instructions[state], sets[set].contains(byte) {
            add(state + 1, to: &following, stack, isStart: false, isEnd: index == text.count - 1)
          }
        }
        swap(&current, &following)
      }
      return (0..<current.count).contains { place in
        if case .accept = instructions[Int(current[place])] { true } else { false }
      }
    }
  }

  /// Adds a state and all that it reaches without a byte.
  /// - Parameter stack: room for twice as many states as there are: each puts two on it, once.
  func add(_ state: Int, to list: inout StateList, _ stack: UnsafeMutablePointer<UInt16>, isStart: Bool, isEnd: Bool) {
    stack[0] = UInt16(state)
    var depth = 1
    while depth > 0 {
      depth -= 1
      let state = Int(stack[depth])
      guard list.insert(state) else { continue }
      switch instructions[state] {
      case .jump(let next):
        stack[depth] = UInt16(next)
        depth += 1
      case .split(let first, let second):
        stack[depth] = UInt16(second)
        stack[depth + 1] = UInt16(first)
        depth += 2
      case .start where isStart, .end where isEnd:
        stack[depth] = UInt16(state + 1)
        depth += 1
      case .take, .start, .end, .accept: break
      }
    }
  }

  /// A sparse set (Briggs and Torczon 1993): emptied in constant time.
  struct StateList {
    private let dense: UnsafeMutablePointer<UInt16>
    private let sparse: UnsafeMutablePointer<UInt16>
    var count = 0

    /// - Parameter memory: initialised, twice the capacity.
    init(_ memory: UnsafeMutablePointer<UInt16>, capacity: Int) {
      dense = memory
      sparse = memory + capacity
    }

    subscript(place: Int) -> UInt16 { dense[place] }

    /// False: it was here already.
    mutating func insert(_ state: Int) -> Bool {
      let place = Int(sparse[state])
      if place < count, dense[place] == UInt16(state) { return false }
      sparse[state] = UInt16(count)
      dense[count] = UInt16(state)
      count += 1
      return true
    }
  }
}
