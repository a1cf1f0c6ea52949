import MeshModel
import Synchronization

/// Gives pods their addresses and the numbers of their namespaces; one that was given back isn't given again soon, so that
/// who still holds it meets nobody.
final class AddressPool: Sendable {
  private struct State {
    var slots: [Int: Set<Int>] = [:]
    var nextSlot: [Int: Int] = [:]
    var indices: Set<Int> = []
    var nextIndex = 0
  }

  struct Given: Sendable, Equatable {
    var node: Int
    var slot: Int
    var index: Int

    var address: String { AddressPlan.podV4(node: node, slot: slot).description }
  }

  /// Of a node: .2 to .253.
  static let slots = 252
  private static let indices = 100_000

  private let state = Mutex(State())

  /// nil where every address of the node is in use.
  func take(node: Int) -> Given? {
    state.withLock { state in
      let used = state.slots[node] ?? []
      let start = state.nextSlot[node] ?? 0
      guard let slot = (0..<Self.slots).lazy.map({ (start + $0) % Self.slots }).first(where: { !used.contains($0) })
      else { return nil }
      while state.indices.contains(state.nextIndex) { state.nextIndex = (state.nextIndex + 1) % Self.indices }
      let given = Given(node: node, slot: slot, index: state.nextIndex)
      state.slots[node, default: []].insert(slot)
      state.nextSlot[node] = slot + 1
      state.indices.insert(given.index)
      state.nextIndex = (given.index + 1) % Self.indices
      return given
    }
  }

  func giveBack(_ given: Given) {
    state.withLock { state in
      state.slots[given.node]?.remove(given.slot)
      state.indices.remove(given.index)
    }
  }
}
