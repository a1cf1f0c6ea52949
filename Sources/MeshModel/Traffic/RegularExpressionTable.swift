/// The deterministic automaton of a program: one look-up per byte and no memory of a match's own.
struct RegularExpressionTable: Sendable {
  /// Bounds the memory of each pattern: 32 KiB.
  private static let maximumCells = 16 << 10
  /// Bounds the time of making it: instructions visited.
  private static let maximumWork = 1 << 20
  private static let dead = 0

  /// Which column a byte belongs to: bytes that no set tells apart share one.
  private var columns: [UInt8] = Array(repeating: 0, count: 256)
  private var columnCount = 1
  /// A row per state; the first is the one without a way out, the second the start.
  private var rows: [UInt16] = []
  private var accepts: [Bool] = []

  /// nil: it would be too large.
  init?(_ program: RegularExpressionProgram) {
    let representatives = makeColumns(program.sets)
    let count = program.instructions.count
    let memory = UnsafeMutablePointer<UInt16>.allocate(capacity: 6 * count + 2)
    memory.initialize(repeating: 0, count: 6 * count + 2)
    defer { memory.deallocate() }
    let stack = memory + 4 * count
    var list = RegularExpressionProgram.StateList(memory, capacity: count)
    var ending = RegularExpressionProgram.StateList(memory + 2 * count, capacity: count)
    var work = 0
    var known: [[UInt16]: Int] = [[]: Self.dead]
    /// Each state's instructions that take a byte or wait for the text's end.
    var members: [[UInt16]] = [[]]
    accepts = [false]

    func isAccepting(_ starts: [UInt16], isStart: Bool) -> Bool {
      ending.count = 0
      for start in starts { program.add(Int(start), to: &ending, stack, isStart: isStart, isEnd: true) }
      work += ending.count
      return (0..<ending.count).contains {
        if case .accept = program.instructions[Int(ending[$0])] { true } else { false }
      }
    }
    func remembered() -> [UInt16] {
      work += list.count
      return (0..<list.count).map { list[$0] }.filter {
        switch program.instructions[Int($0)] {
        case .take, .end, .accept: true
        case .jump, .split, .start: false
        }
      }.sorted()
    }

    program.add(0, to: &list, stack, isStart: true, isEnd: false)
    members.append(remembered())
    accepts.append(isAccepting([0], isStart: true))
    var row = 0
    while row < members.count {
      for byte in representatives {
        list.count = 0
        for state in members[row] {
          if case .take(let set) = program.instructions[Int(state)], program.sets[set].contains(byte) {
            program.add(Int(state) + 1, to: &list, stack, isStart: false, isEnd: false)
          }
        }
        work += members[row].count
        let target = remembered()
        let place = known[target] ?? members.count
        if place == members.count {
          guard (members.count + 1) * columnCount <= Self.maximumCells else { return nil }
          known[target] = place
          members.append(target)
          accepts.append(isAccepting(target, isStart: false))
        }
        rows.append(UInt16(place))
        guard work <= Self.maximumWork else { return nil }
      }
      row += 1
    }
  }

  /// Splits the columns by one set after the other.
  /// - Returns: a byte of each column.
  private mutating func makeColumns(_ sets: [ByteSet]) -> [UInt8] {
    for set in sets {
      // By the old column and whether the set has the byte; -1: not seen yet.
      var split = Array(repeating: -1, count: 2 * columnCount)
      var count = 0
      for byte in UInt8.min...UInt8.max {
        let part = 2 * Int(columns[Int(byte)]) + (set.contains(byte) ? 1 : 0)
        if split[part] < 0 {
          split[part] = count
          count += 1
        }
        columns[Int(byte)] = UInt8(split[part])
      }
      columnCount = count
    }
    var representatives = Array(repeating: UInt8(0), count: columnCount)
    for byte in UInt8.min...UInt8.max { representatives[Int(columns[Int(byte)])] = byte }
    return representatives
  }

  func matches(_ text: UnsafeRawBufferPointer) -> Bool {
    var state = 1
    return rows.withUnsafeBufferPointer { rows in
      columns.withUnsafeBufferPointer { columns in
        for byte in text {
          state = Int(rows[state * columnCount + Int(columns[Int(byte)])])
          if state == Self.dead { return false }
        }
        return accepts[state]
      }
    }
  }
}
