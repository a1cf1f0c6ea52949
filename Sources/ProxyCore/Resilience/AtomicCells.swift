import Synchronization

/// A fixed number of atomic words that workers share.
final class AtomicCells: Sendable {
  let count: Int
  // Written once here and freed at the end; what it points to is atomic.
  nonisolated(unsafe) private let cells: UnsafeMutablePointer<Atomic<UInt64>>

  init(count: Int) {
    self.count = count
    cells = .allocate(capacity: count)
    for index in 0..<count { (cells + index).initialize(to: Atomic(0)) }
  }

  deinit {
    cells.deinitialize(count: count)
    cells.deallocate()
  }

  func load(_ index: Int) -> UInt64 { cells[index].load(ordering: .relaxed) }

  func store(_ value: UInt64, at index: Int) { cells[index].store(value, ordering: .relaxed) }

  /// Wraps around. The sum.
  @discardableResult
  func add(_ value: UInt64, at index: Int) -> UInt64 {
    cells[index].wrappingAdd(value, ordering: .relaxed).newValue
  }

  /// Whether the cell held `old` and holds `new` now.
  func exchange(_ index: Int, from old: UInt64, to new: UInt64) -> Bool {
    cells[index].compareExchange(expected: old, desired: new, ordering: .relaxed).exchanged
  }

  /// As `exchange`, for a cell that says whose other cells are: who gets them sees what the one before wrote there.
  func handOver(_ index: Int, from old: UInt64, to new: UInt64) -> Bool {
    cells[index].compareExchange(expected: old, desired: new, ordering: .acquiringAndReleasing).exchanged
  }
}
