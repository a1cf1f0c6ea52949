import HashTreeCollections
import MeshModel

/// Who has which address. Almost always it's one; but a pod may show up under the address of one that hasn't gone yet, and
/// nobody keeps people from writing one address twice: then no order of changes may lose the one that stays.
struct AddressOwners<Owner: Hashable & Comparable & Sendable>: Sendable {
  private var owners: TreeDictionary<IPAddress, Owner> = [:]
  /// All owners in their order, where there are several.
  private var shared: TreeDictionary<IPAddress, [Owner]> = [:]

  /// The least owner that suits, else the least.
  func owner(of address: IPAddress, preferring suits: (Owner) -> Bool) -> Owner? {
    guard let owner = owners[address] else { return nil }
    guard !shared.isEmpty, let all = shared[address] else { return owner }
    return all.first(where: suits) ?? owner
  }

  mutating func insert(_ owner: Owner, at address: IPAddress) {
    guard let known = owners[address] else {
      owners[address] = owner
      return
    }
    var all = shared[address] ?? [known]
    guard !all.contains(owner) else { return }
    all.insert(owner, at: all.firstIndex { owner < $0 } ?? all.endIndex)
    owners[address] = all[0]
    shared[address] = all
  }

  mutating func remove(_ owner: Owner, at address: IPAddress) {
    guard var all = shared[address] else {
      if owners[address] == owner { owners[address] = nil }
      return
    }
    all.removeAll { $0 == owner }
    owners[address] = all[0]
    shared[address] = all.count > 1 ? all : nil
  }
}
