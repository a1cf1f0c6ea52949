import DiscoveryAPI
import Foundation

/// All resources, by type and name.
struct World: DeltaWorld {
  var resources: [String: [String: DiscoveryResource]] = [:]
  var meshedNodes: Set<String> = []
  /// Pods that subscribe by themselves: to them everything is sent that meshed nodes get.
  var workloads: Set<String> = []
  var generation: UInt64 = 0
  private let sorted = SortedNames()

  func names(_ typeURL: String) -> [String] {
    sorted.names(typeURL) { resources[typeURL, default: [:]].keys.sorted() }
  }

  func namesChanged(_ typeURL: String) { sorted.changed(typeURL) }

  func resource(_ key: ResourceKey, for node: String) -> DiscoveryResource? {
    guard let resource = resources[key.typeURL]?[key.name],
      includes(resource.audience, node, meshedNodes: meshedNodes)
    else { return nil }
    return resource
  }

  func forEachResource(_ typeURL: String, for node: String, _ body: (DiscoveryResource) -> Void) {
    let isMeshed = meshedNodes.contains(node) || workloads.contains(node)
    for resource in resources[typeURL, default: [:]].values
    where isMeshed || resource.audience.includes(node, meshedNodes: []) {
      body(resource)
    }
  }

  func includes(_ audience: Audience, _ node: String, meshedNodes: Set<String>) -> Bool {
    audience.includes(node, meshedNodes: meshedNodes) || workloads.contains(node)
  }
}

/// Sorted names by type, made when first asked for since one came or went.
private final class SortedNames: Sendable {
  private let lists = Guarded<[String: [String]]>([:])

  func names(_ typeURL: String, _ make: () -> [String]) -> [String] {
    lists.withLock { lists in
      if let names = lists[typeURL] { return names }
      let names = make()
      lists[typeURL] = names
      return names
    }
  }

  func changed(_ typeURL: String) { lists.withLock { $0[typeURL] = nil } }
}

/// What the cache's lock guards.
struct CacheState {
  /// Nodes that are remembered after they went; the longest gone is forgotten first.
  static let maximumStatuses = 20_000

  private(set) var world = World()
  private(set) var statuses: [String: NodeStatus] = [:]
  private(set) var replaced: Set<UInt64> = []
  private var streams: [UInt64: Stream] = [:]
  private var streamOfNode: [String: UInt64] = [:]
  private var changedStatuses: Set<String> = []
  private var statusSignal: AsyncStream<Void>.Continuation?
  private var lastID: UInt64 = 0

  /// A reference, so that a change of one stream copies none.
  private final class Stream {
    var machine: DeltaStream
    let wake: AsyncStream<Void>.Continuation

    init(machine: DeltaStream, wake: AsyncStream<Void>.Continuation) {
      self.machine = machine
      self.wake = wake
    }
  }

  mutating func apply(
    upserts: [DiscoveryResource], removals: [ResourceKey], meshedNodes: Set<String>
  ) -> UInt64 {
    let before = world.meshedNodes
    // Those that leave by the old world, those that come by the new one: so nobody is told of what it never saw.
    for node in before.subtracting(meshedNodes) { reconsider(node) }
    world.meshedNodes = meshedNodes
    world.generation += 1
    for resource in upserts {
      let old = world.resources[resource.typeURL, default: [:]].updateValue(resource, forKey: resource.name)
      if old == nil { world.namesChanged(resource.typeURL) }
      notify(resource.key, old: old, new: resource, meshedBefore: before)
    }
    for key in removals {
      guard let old = world.resources[key.typeURL]?.removeValue(forKey: key.name) else { continue }
      world.namesChanged(key.typeURL)
      notify(key, old: old, new: nil, meshedBefore: before)
    }
    for node in meshedNodes.subtracting(before) { reconsider(node) }
    return world.generation
  }

  /// Tells the streams that saw the old value or see the new one, unless it is the same to them.
  private mutating func notify(
    _ key: ResourceKey, old: DiscoveryResource?, new: DiscoveryResource?, meshedBefore: Set<String>
  ) {
    for stream in streams.values {
      let node = stream.machine.node
      let saw = old.map { world.includes($0.audience, node, meshedNodes: meshedBefore) } == true
      let sees = new.map { world.includes($0.audience, node, meshedNodes: world.meshedNodes) } == true
      guard saw || sees, !(saw && sees && old?.version == new?.version) else { continue }
      if stream.machine.changed(key) { stream.wake.yield() }
    }
  }

  /// The node began or ceased to have meshed workloads: everything meant for meshed nodes comes or goes.
  private mutating func reconsider(_ node: String) {
    guard let id = streamOfNode[node], let stream = streams[id] else { return }
    for url in stream.machine.typeURLs {
      for resource in world.resources[url, default: [:]].values
      where !resource.audience.includes(node, meshedNodes: []) {
        _ = stream.machine.changed(resource.key)
      }
    }
    stream.wake.yield()
  }

  mutating func open(
    node: String, isWorkload: Bool = false, wake: AsyncStream<Void>.Continuation, now: Date
  ) -> UInt64 {
    if let old = streamOfNode[node] {
      replaced.insert(old)
      streams.removeValue(forKey: old)?.wake.finish()
    }
    lastID += 1
    streams[lastID] = Stream(machine: DeltaStream(node: node), wake: wake)
    streamOfNode[node] = lastID
    guard !isWorkload else {
      world.workloads.insert(node)
      return lastID
    }
    if statuses[node] == nil, statuses.count >= Self.maximumStatuses { forgetOldest() }
    statuses[node] = NodeStatus(node: node, connected: true, since: now)
    statusChanged(node)
    return lastID
  }

  mutating func close(_ id: UInt64, now: Date) {
    replaced.remove(id)
    guard let stream = streams.removeValue(forKey: id) else { return }
    stream.wake.finish()
    let node = stream.machine.node
    guard streamOfNode[node] == id else { return }
    streamOfNode[node] = nil
    guard world.workloads.remove(node) == nil else { return }
    statuses[node]?.connected = false
    statuses[node]?.since = now
    statusChanged(node)
  }

  mutating func receive(
    _ request: Envoy_Service_Discovery_V3_DeltaDiscoveryRequest, on id: UInt64
  ) throws(DeltaStream.Refusal) {
    // A stream that was replaced says nothing any more.
    guard let stream = streams[id] else { return }
    let changed = try stream.machine.receive(request, world: world)
    // An answer is mostly to the last that there was to say.
    if stream.machine.isBehind { stream.wake.yield() }
    guard changed, !world.workloads.contains(stream.machine.node) else { return }
    statuses[stream.machine.node]?.nacked = stream.machine.rejected
    statusChanged(stream.machine.node)
  }

  func next(on id: UInt64) -> Envoy_Service_Discovery_V3_DeltaDiscoveryResponse? {
    streams[id]?.machine.next(world: world, systemVersion: String(world.generation))
  }

  var machines: some Sequence<DeltaStream> { streams.values.lazy.map(\.machine) }

  func endStreams() {
    for stream in streams.values { stream.wake.finish() }
  }

  mutating func observeStatuses(_ signal: AsyncStream<Void>.Continuation) {
    statusSignal?.finish()
    statusSignal = signal
    if !changedStatuses.isEmpty { signal.yield() }
  }

  private mutating func statusChanged(_ node: String) {
    changedStatuses.insert(node)
    statusSignal?.yield()
  }

  mutating func takeChangedStatuses() -> [NodeStatus] {
    defer { changedStatuses = [] }
    return changedStatuses.sorted().compactMap { statuses[$0] }
  }

  private mutating func forgetOldest() {
    let gone = statuses.values.filter { !$0.connected }.min { $0.since < $1.since }
    if let gone { statuses[gone.node] = nil }
  }
}
