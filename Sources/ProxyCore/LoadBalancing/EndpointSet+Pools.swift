import MeshModel

/// What may be chosen, by locality.
extension EndpointSet {
  func poolIndex(of endpoint: Int) -> Int {
    locality?.isPreferred == true ? Int(endpoints[endpoint].rank.rawValue) : 0
  }

  /// Counts what is healthy and lists what may be chosen. After an update, an ejection or a return; without allocation
  /// once the arrays have grown.
  mutating func rebuild() {
    for index in pools.indices { pools[index].reset() }
    isUsable.removeAll(keepingCapacity: true)
    for index in endpoints.indices {
      isUsable.append(false)
      let number = Int(slotOfEndpoint[index])
      // Read once: other workers eject meanwhile, and both passes must see the same.
      slots[number].isEjected = ejectedUntil(number) != nil
      let slot = slots[number]
      guard slot.weight > 0 else { continue }
      let pool = poolIndex(of: index)
      pools[pool].members += 1
      guard slot.wasReady else { continue }
      pools[pool].ready += 1
      if !slot.isEjected { pools[pool].healthy += 1 }
    }
    let settings = locality ?? Locality(isPreferred: false)
    LocalityShares.assign(
      &pools, overprovisioning: settings.overprovisioning, panicThreshold: settings.panicThreshold)
    for index in endpoints.indices {
      let slot = slots[Int(slotOfEndpoint[index])]
      let pool = poolIndex(of: index)
      guard slot.weight > 0, slot.wasReady, !slot.isEjected || pools[pool].isPanicking
      else { continue }
      isUsable[index] = true
      pools[pool].append(index, weight: slot.weight)
    }
  }

  /// Builds the tables of consistent hashing where their members have changed.
  mutating func buildTables() {
    let kind: ConsistentTable.Kind
    switch policy.algorithm {
    case .ringHash: kind = .ring
    case .maglev: kind = .maglev
    default:
      for pool in pools.indices { pools[pool].table = nil }
      return
    }
    var members: [[(member: ConsistentTable.Member, index: Int32)]] = Array(repeating: [], count: pools.count)
    for index in endpoints.indices {
      let slot = slots[Int(slotOfEndpoint[index])]
      guard slot.weight > 0 else { continue }
      let member = ConsistentTable.Member(hash: StableHash.hash(slot.address), weight: slot.weight)
      members[poolIndex(of: index)].append((member, Int32(index)))
    }
    for pool in pools.indices {
      members[pool].sort { $0.member.hash < $1.member.hash }
      pools[pool].tableIndexes = members[pool].map(\.index)
      let wanted = members[pool].map(\.member)
      if let table = pools[pool].table, table.kind == kind, table.members == wanted { continue }
      pools[pool].table = wanted.isEmpty ? nil : ConsistentTable(kind, members: wanted)
    }
  }
}
