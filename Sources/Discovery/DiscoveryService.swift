import DiscoveryAPI
import Foundation
import GRPCCore
import Logging

/// Serves incremental xDS from the cache.
struct DiscoveryService: Envoy_Service_Discovery_V3_AggregatedDiscoveryService.SimpleServiceProtocol {
  /// What changes together is told together: a Pod and its EndpointSlice, hundreds of Pods of a rollout. A fraction of what
  /// the change takes to be in force.
  private static let gathering = Duration.milliseconds(2)

  let cache: SnapshotCache
  let logger: Logger

  func deltaAggregatedResources(
    request: RPCAsyncSequence<Envoy_Service_Discovery_V3_DeltaDiscoveryRequest, any Error>,
    response: RPCWriter<Envoy_Service_Discovery_V3_DeltaDiscoveryResponse>,
    context: ServerContext
  ) async throws {
    let peer = try Subscriber(context, stream: UInt64.random(in: 0...UInt64.max))
    let node = peer.name
    let handle = cache.open(node: node, isWorkload: peer.isWorkload)
    logger.info("node connected", metadata: ["node": "\(node)"])
    defer {
      cache.close(handle.id)
      logger.info("node disconnected", metadata: ["node": "\(node)"])
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        for try await message in request { try receive(message, on: handle.id) }
      }
      group.addTask {
        for await _ in handle.wakes {
          try await Task.sleep(for: Self.gathering)
          while let message = cache.next(on: handle.id) { try await response.write(message) }
        }
      }
      group.addTask {
        try await Task.sleep(for: .seconds(max(0, peer.notAfter.timeIntervalSinceNow)))
        throw RPCError(
          code: .unauthenticated, message: "the certificate of \(node) has expired; connect with a renewed one")
      }
      // Whichever ends first ends the stream: the client has left, the cache ends it, or the certificate's time is up.
      defer { group.cancelAll() }
      try await group.next()
    }
    if cache.wasReplaced(handle.id) {
      throw RPCError(code: .aborted, message: "node \(node) has opened a newer stream")
    }
  }

  private func receive(_ message: Envoy_Service_Discovery_V3_DeltaDiscoveryRequest, on id: UInt64) throws(RPCError) {
    if message.hasErrorDetail {
      logger.warning(
        "a node refused resources",
        metadata: ["type": "\(message.typeURL)", "reason": "\(message.errorDetail.message)"])
    }
    do throws(DeltaStream.Refusal) {
      try cache.receive(message, on: id)
    } catch {
      switch error {
      case .wrongNode(let name):
        throw RPCError(code: .permissionDenied, message: "the request names node \(name); the certificate does not")
      case .invalid(let reason):
        throw RPCError(code: .invalidArgument, message: reason)
      }
    }
  }
}
