import DiscoveryAPI
import Foundation
import Synchronization

/// The world, held once, and the streams that watch it. A change costs what it changes: each stream is told the names,
/// and reads the values when it sends them.
public final class SnapshotCache: Sendable {
  private let state = Mutex(CacheState())

  public init() {}

  /// Changes the world. What is equal to what is held already is not sent again.
  ///
  /// - Parameter meshedNodes: all nodes that have meshed workloads after this change. A node that becomes one is sent
  ///   what meshed nodes get; one that ceases to be is told to drop it.
  /// - Returns: the generation after the change.
  @discardableResult
  public func apply(
    upserts: [DiscoveryResource], removals: [ResourceKey], meshedNodes: Set<String>
  ) -> UInt64 {
    state.withLock { $0.apply(upserts: upserts, removals: removals, meshedNodes: meshedNodes) }
  }

  func withState<Result: Sendable>(_ body: (CacheState) -> Result) -> Result { state.withLock { body($0) } }

  /// Grows with each change.
  public var generation: UInt64 { state.withLock { $0.world.generation } }

  /// How many resources of each type the world holds.
  public var counts: [String: Int] { state.withLock { $0.world.resources.mapValues(\.count) } }

  /// What a node gets of a type, sorted by name: for tests and people.
  public func resources(_ typeURL: String, for node: String) -> [DiscoveryResource] {
    state.withLock { state in
      var found: [DiscoveryResource] = []
      state.world.forEachResource(typeURL, for: node) { found.append($0) }
      return found.sorted { $0.name < $1.name }
    }
  }

  /// Every node that is or was connected, sorted by name.
  public var nodes: [NodeStatus] { state.withLock { $0.statuses.values.sorted { $0.node < $1.node } } }
}

extension SnapshotCache {
  /// One node's stream.
  struct Handle: Sendable {
    let id: UInt64
    /// Yields when there may be something to send; ends when the stream must.
    let wakes: AsyncStream<Void>
  }

  /// The newest stream of a node wins: an older one is ended.
  ///
  /// - Parameter isWorkload: a pod by itself, which is sent what meshed nodes get. Its name must be this stream's alone;
  ///   nothing is remembered of it once it has gone.
  func open(node: String, isWorkload: Bool = false, now: Date = Date()) -> Handle {
    let (wakes, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    let id = state.withLock { $0.open(node: node, isWorkload: isWorkload, wake: continuation, now: now) }
    return Handle(id: id, wakes: wakes)
  }

  func close(_ id: UInt64, now: Date = Date()) {
    state.withLock { $0.close(id, now: now) }
  }

  func receive(
    _ request: Envoy_Service_Discovery_V3_DeltaDiscoveryRequest, on id: UInt64
  ) throws(DeltaStream.Refusal) {
    let refusal = state.withLock { state -> DeltaStream.Refusal? in
      do throws(DeltaStream.Refusal) {
        try state.receive(request, on: id)
        return nil
      } catch {
        return error
      }
    }
    if let refusal { throw refusal }
  }

  func next(on id: UInt64) -> Envoy_Service_Discovery_V3_DeltaDiscoveryResponse? {
    state.withLock { $0.next(on: id) }
  }

  /// Whether the stream was ended because its node opened another.
  func wasReplaced(_ id: UInt64) -> Bool { state.withLock { $0.replaced.contains(id) } }

  /// Ends every stream.
  func endStreams() { state.withLock { $0.endStreams() } }

  /// Yields after statuses changed. For one consumer: a new one ends the one before.
  func statusChanges() -> AsyncStream<Void> {
    let (stream, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    state.withLock { $0.observeStatuses(continuation) }
    return stream
  }

  /// The statuses that changed since the last call.
  func takeChangedStatuses() -> [NodeStatus] { state.withLock { $0.takeChangedStatuses() } }
}
