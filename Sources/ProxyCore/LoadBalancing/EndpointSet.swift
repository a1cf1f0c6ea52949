import MeshModel

/// The endpoints of a Service's port and which of them gets the next try. One for each worker, asked without a lock:
/// what it knows of load and latency is what its own requests met; errors and ejections stand on a board that the node's
/// workers share. What is known of an endpoint is kept over updates by its address.
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
  /// As given; nil: what is known of outliers is this set's own.
  var board: OutlierBoard?
  /// nil: no outlier detection.
  var outliers: OutlierPlaces?
  /// Of `outliers.table`, as `pools` have it.
  var noticedGeneration: UInt64 = 0
  /// When ejections or their sweep are next to be looked at.
  var nextEvent = NanoTime.max

  public init() {}

  /// Takes a new list or new policies, where the snapshot's version has changed. Endpoints that have become ready since
  /// the last one start slowly, unless nothing was ready before them. Cheap where nothing is new.
  ///
  /// - Parameters:
  ///   - locality: nil: all endpoints are equally near, and the panic threshold is 50 %.
  ///   - outlierDetection: nil: nothing is ejected, and what was returns.
  ///   - board: for these settings, shared with other sets of the same endpoints; nil: one of its own.
  public mutating func update(
    _ list: [BalancedEndpoint], policy: LoadBalancer, locality: Locality? = nil,
    outlierDetection: OutlierDetection? = nil, board: OutlierBoard? = nil, now: NanoTime
  ) {
    if policy == self.policy, locality == self.locality, outlierDetection == self.outlierDetection,
      board === self.board, list == endpoints
    {
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
      slots[slot].place = -1
      if slots[slot].outstanding == 0 { release(slot) }
    }
    let slowStart = NanoTime.milliseconds(UInt64(policy.slowStart))
    slowStartEnd = slowStart == 0 ? 0 : slots.reduce(0) { max($0, $1.slowSince.map { $0 &+ slowStart } ?? 0) }
    setOutlierDetection(outlierDetection, board, now: now)
    buildTables()
  }

  // MARK: Tries

  /// A try is given to `endpoints[index]`.
  public mutating func started(_ index: Int) -> EndpointAttempt {
    let slot = slotOfEndpoint[index]
    slots[Int(slot)].outstanding += 1
    return EndpointAttempt(slot: slot, generation: slots[Int(slot)].generation)
  }

  /// How a try went that stays outstanding: a connection is judged once it is there, and may last for hours. It ends
  /// with `finished`, `abandoned` and a latency of 0, which says nothing more of its endpoint.
  /// - Parameter latency: nanoseconds from `started` to the connection, or to the failure.
  public mutating func observed(
    _ attempt: EndpointAttempt, outcome: AttemptOutcome, latency: NanoTime, now: NanoTime
  ) {
    guard let slot = slot(of: attempt), slots[slot].index >= 0 else { return }
    judge(slot, outcome, latency: latency, now: now)
  }

  /// A try's end.
  /// - Parameter latency: nanoseconds from `started` to the response's head, or to the failure.
  public mutating func finished(
    _ attempt: EndpointAttempt, outcome: AttemptOutcome, latency: NanoTime, now: NanoTime
  ) {
    guard let slot = slot(of: attempt) else { return }
    slots[slot].outstanding -= 1
    if slots[slot].index >= 0 {
      judge(slot, outcome, latency: latency, now: now)
    } else if slots[slot].outstanding == 0 {
      release(slot)
    }
  }

  private mutating func judge(_ slot: Int, _ outcome: AttemptOutcome, latency: NanoTime, now: NanoTime) {
    slots[slot].latency.observe(latency, outcome: outcome, now: now)
    record(outcome, latency: latency, slot: slot, now: now)
  }

  /// nil: the try has ended.
  private func slot(of attempt: EndpointAttempt) -> Int? {
    let slot = Int(attempt.slot)
    guard slots.indices.contains(slot), slots[slot].generation == attempt.generation, slots[slot].outstanding > 0
    else { return nil }
    return slot
  }

  // MARK: Lookups

  /// The endpoint of a session; nil where it is gone, draining or not healthy.
  public func persistent(_ token: EndpointToken) -> Int? {
    guard let index = indexByToken[token], isUsable[Int(index)],
      ejectedUntil(Int(slotOfEndpoint[Int(index)])) == nil
    else { return nil }
    return Int(index)
  }

  public func index(of address: SocketAddress) -> Int? {
    guard let slot = slotByAddress[address], slots[Int(slot)].index >= 0 else { return nil }
    return Int(slots[Int(slot)].index)
  }

  /// As of the last `catchUp` or `choose`.
  public func status(of index: Int, now: NanoTime) -> EndpointStatus {
    let slot = slots[Int(slotOfEndpoint[index])]
    return EndpointStatus(
      isUsable: isUsable[index], ejectedUntil: ejectedUntil(Int(slotOfEndpoint[index])),
      ejections: slot.place < 0 ? 0 : outliers?.table.ejections(Int(slot.place)) ?? 0,
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
}
