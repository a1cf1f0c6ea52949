import MeshModel

/// The endpoints of a Service's port and which of them gets the next try. One for each worker: what it knows of load,
/// latency and errors is what its own requests met, and it is asked without a lock. What is known of an endpoint is
/// kept over updates by its address.
public struct EndpointSet {
  /// As given, without a second one of the same address. `choose` answers indexes into it.
  public private(set) var endpoints: [BalancedEndpoint] = []
  public private(set) var policy = LoadBalancer()
  public internal(set) var outlierDetection: OutlierDetection?
  var locality: Locality?

  var slots: [EndpointSlot] = []
  private var freeSlots: [Int32] = []
  private var slotByAddress: [SocketAddress: Int32] = [:]
  private var indexByToken: [EndpointToken: Int32] = [:]
  /// For each endpoint its slot, and whether it may be chosen.
  var slotOfEndpoint: [Int32] = []
  var isUsable: [Bool] = []

  /// By locality rank; only the first where localities don't count.
  var pools = Array(repeating: EndpointPool(), count: LocalityRank.allCases.count)
  /// Until then some endpoint starts slowly.
  var slowStartEnd: NanoTime = 0
  /// When ejections or their sweep are next to be looked at.
  var nextEvent = NanoTime.max
  var nextSweep = NanoTime.max
  /// Reused by the sweep.
  var scratch: [(value: Double, slot: Int32)] = []

  public init() {}

  /// Takes a new list or new policies, where the snapshot's version has changed. Endpoints that have become ready since
  /// the last one start slowly, unless nothing was ready before them. Cheap where nothing is new.
  ///
  /// - Parameters:
  ///   - locality: nil: all endpoints are equally near, and the panic threshold is 50 %.
  ///   - outlierDetection: nil: nothing is ejected, and what was returns.
  public mutating func update(
    _ list: [BalancedEndpoint], policy: LoadBalancer, locality: Locality? = nil,
    outlierDetection: OutlierDetection? = nil, now: NanoTime
  ) {
    if policy == self.policy, locality == self.locality, outlierDetection == self.outlierDetection, list == endpoints {
      return
    }
    let hadReady = slotOfEndpoint.contains { slots[Int($0)].wasReady }
    self.policy = policy
    self.locality = locality
    for index in slots.indices { slots[index].index = -1 }
    endpoints.removeAll(keepingCapacity: true)
    slotOfEndpoint.removeAll(keepingCapacity: true)
    indexByToken.removeAll(keepingCapacity: true)
    for endpoint in list {
      let slot = slotForUpdate(of: endpoint.address)
      guard slots[slot].index < 0 else { continue }
      let isReady = endpoint.isReady && !endpoint.isDraining
      if isReady, !slots[slot].wasReady { slots[slot].slowSince = hadReady ? now : nil }
      slots[slot].wasReady = isReady
      slots[slot].index = Int32(endpoints.count)
      slots[slot].weight = endpoint.isDraining ? 0 : min(endpoint.weight, 1_000_000)
      indexByToken[EndpointToken(endpoint.address)] = Int32(endpoints.count)
      slotOfEndpoint.append(Int32(slot))
      endpoints.append(endpoint)
    }
    for slot in slots.indices where slots[slot].index < 0 && slots[slot].isTaken {
      slots[slot].wasReady = false
      slots[slot].outlier = OutlierState()
      if slots[slot].outstanding == 0 { release(slot) }
    }
    let slowStart = NanoTime.milliseconds(UInt64(policy.slowStart))
    slowStartEnd = slowStart == 0 ? 0 : slots.reduce(0) { max($0, $1.slowSince.map { $0 &+ slowStart } ?? 0) }
    setOutlierDetection(outlierDetection, now: now)
    rebuild()
    buildTables()
  }

  // MARK: Tries

  /// A try is given to `endpoints[index]`.
  public mutating func started(_ index: Int) -> EndpointAttempt {
    let slot = slotOfEndpoint[index]
    slots[Int(slot)].outstanding += 1
    return EndpointAttempt(slot: slot, generation: slots[Int(slot)].generation)
  }

  /// A try's end.
  /// - Parameter latency: from `started` to the response's head, or to the failure.
  public mutating func finished(
    _ attempt: EndpointAttempt, outcome: AttemptOutcome, latency: NanoTime, now: NanoTime
  ) {
    let slot = Int(attempt.slot)
    guard slots.indices.contains(slot), slots[slot].generation == attempt.generation, slots[slot].outstanding > 0
    else { return }
    slots[slot].outstanding -= 1
    guard slots[slot].index >= 0 else {
      if slots[slot].outstanding == 0 { release(slot) }
      return
    }
    slots[slot].latency.observe(latency, outcome: outcome, now: now)
    record(outcome, latency: latency, slot: slot, now: now)
  }

  // MARK: Lookups

  /// The endpoint of a session; nil where it is gone, draining or not healthy.
  public func persistent(_ token: EndpointToken) -> Int? {
    guard let index = indexByToken[token], isUsable[Int(index)],
      slots[Int(slotOfEndpoint[Int(index)])].outlier.ejectedUntil == nil
    else { return nil }
    return Int(index)
  }

  public func index(of address: SocketAddress) -> Int? {
    guard let slot = slotByAddress[address], slots[Int(slot)].index >= 0 else { return nil }
    return Int(slots[Int(slot)].index)
  }

  public func status(of index: Int, now: NanoTime) -> EndpointStatus {
    let slot = slots[Int(slotOfEndpoint[index])]
    return EndpointStatus(
      isUsable: isUsable[index], ejectedUntil: slot.outlier.ejectedUntil, ejections: slot.outlier.ejections,
      outstanding: slot.outstanding, latency: slot.latency.hasSample ? NanoTime(slot.latency.value(at: now)) : nil)
  }

  // MARK: Slots

  private mutating func slotForUpdate(of address: SocketAddress) -> Int {
    if let known = slotByAddress[address] { return Int(known) }
    let slot: Int
    if let free = freeSlots.popLast() {
      slot = Int(free)
    } else {
      slot = slots.count
      slots.append(EndpointSlot(address: address))
    }
    slots[slot] = EndpointSlot(address: address, generation: slots[slot].generation)
    slots[slot].isTaken = true
    slotByAddress[address] = Int32(slot)
    return slot
  }

  private mutating func release(_ slot: Int) {
    slotByAddress[slots[slot].address] = nil
    slots[slot].generation &+= 1
    slots[slot].isTaken = false
    slots[slot].slowSince = nil
    freeSlots.append(Int32(slot))
  }

  // MARK: Pools

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
      let slot = slots[Int(slotOfEndpoint[index])]
      guard slot.weight > 0 else { continue }
      let pool = poolIndex(of: index)
      pools[pool].members += 1
      guard slot.wasReady else { continue }
      pools[pool].ready += 1
      if slot.outlier.ejectedUntil == nil { pools[pool].healthy += 1 }
    }
    let settings = locality ?? Locality(isPreferred: false)
    LocalityShares.assign(
      &pools, overprovisioning: settings.overprovisioning, panicThreshold: settings.panicThreshold)
    for index in endpoints.indices {
      let slot = slots[Int(slotOfEndpoint[index])]
      let pool = poolIndex(of: index)
      guard slot.weight > 0, slot.wasReady, slot.outlier.ejectedUntil == nil || pools[pool].isPanicking
      else { continue }
      isUsable[index] = true
      pools[pool].append(index, weight: slot.weight)
    }
  }

  /// Builds the tables of consistent hashing where their members have changed.
  private mutating func buildTables() {
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
