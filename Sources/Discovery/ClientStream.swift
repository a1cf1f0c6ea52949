import DiscoveryAPI
import Foundation
import GRPCCore
import Identity

extension DiscoveryClient {
  /// One connection with one stream, until it ends.
  ///
  /// - Parameter replica: nil: whichever the name leads to.
  /// - Returns: why it ended; nil where it was ended to use other credentials or a replica that the node prefers.
  func connect(
    to replica: ControlEndpoint?,
    handler: @escaping @Sendable (DiscoveryUpdate) async -> [RejectedResource]
  ) async -> DiscoveryError? {
    let (reconnects, reconnect) = AsyncStream<Void>.makeStream()
    let (credentials, bundle) = shared.withLock {
      $0.reconnect = reconnect
      return ($0.credentials, $0.bundle)
    }
    do {
      let transport = try ControlTransport.make(
        configuration.control, replica: replica, credentials: credentials, bundle: bundle,
        refused: { [shared] error in shared.withLock { $0.refusal = error } })
      try await withGRPCClient(transport: transport) { client in
        shared.withLock { $0.client = client }
        defer { shared.withLock { $0.client = nil } }
        try await stream(client, replica, until: reconnects, handler: handler)
      }
      return nil
    } catch {
      let refusal = shared.withLock { $0.refusal }
      return ControlTransport.explain(error, replica ?? configuration.control, refusal: refusal)
    }
  }

  private func stream(
    _ client: ControlTransport.Client, _ replica: ControlEndpoint?, until reconnects: AsyncStream<Void>,
    handler: @escaping @Sendable (DiscoveryUpdate) async -> [RejectedResource]
  ) async throws {
    let discovery = Envoy_Service_Discovery_V3_AggregatedDiscoveryService.Client(wrapping: client)
    // Bounded by the server: it sends no more than a few responses of each type before they are answered.
    let (requests, outgoing) = AsyncStream<Envoy_Service_Discovery_V3_DeltaDiscoveryRequest>.makeStream()
    for request in subscriptions() { outgoing.yield(request) }
    var options = CallOptions.defaults
    options.waitForReady = false
    options.maxResponseMessageBytes = 2 * DiscoveryLimits.responseBytes
    try await withThrowingTaskGroup(of: Bool.self) { group in
      group.addTask { [options] in
        try await discovery.deltaAggregatedResources(options: options) { writer in
          for await request in requests { try await writer.write(request) }
        } onResponse: { response in
          defer { outgoing.finish() }
          for try await message in response.messages {
            // Only now: a refusal comes after the stream was opened.
            self.setStatus(connected: true, error: nil)
            outgoing.yield(await self.answer(message, handler: handler))
          }
        }
        throw DiscoveryError(
          .unreachable, "\(replica ?? self.configuration.control): the control plane ended the stream")
      }
      group.addTask {
        // A peer that accepts connections and then says nothing.
        try await Task.sleep(for: .seconds(self.configuration.timeout))
        guard self.status.connected else {
          throw DiscoveryError(
            .unreachable,
            "\(replica ?? self.configuration.control): no answer in \(self.configuration.timeout) seconds")
        }
        return false
      }
      group.addTask {
        for await _ in reconnects {}
        return true
      }
      group.addTask {
        guard let replica else { return false }
        try await self.awaitBetter(than: replica)
        return true
      }
      defer { group.cancelAll() }
      while let isOver = try await group.next(), !isOver {}
    }
  }

  /// After a rollout all nodes are where they went last: each moves back to where it belongs, in its own time.
  private func awaitBetter(than replica: ControlEndpoint) async throws {
    repeat {
      try await Task.sleep(for: .seconds(configuration.rebalancing * Double.random(in: 0.75...1.25)))
    } while await !replicas.hasBetter(than: replica)
    logger.info("moves to the replica that this node prefers")
  }

  private func subscriptions() -> [Envoy_Service_Discovery_V3_DeltaDiscoveryRequest] {
    let state = state
    return configuration.typeURLs.enumerated().map { index, url in
      .with {
        if index == 0 { $0.node.id = configuration.node }
        $0.typeURL = url
        $0.resourceNamesSubscribe = ["*"]
        $0.initialResourceVersions = state.versions(url)
      }
    }
  }

  /// Hands a response to the handler, keeps what it accepts, and makes the ACK or NACK.
  private func answer(
    _ message: Envoy_Service_Discovery_V3_DeltaDiscoveryResponse,
    handler: @Sendable (DiscoveryUpdate) async -> [RejectedResource]
  ) async -> Envoy_Service_Discovery_V3_DeltaDiscoveryRequest {
    var rejected = ResponseCheck.rejections(message, held: state.count(message.typeURL))
    let broken = Set(rejected.map(\.name))
    let update = DiscoveryUpdate(
      typeURL: message.typeURL,
      resources: message.resources.filter { !broken.contains($0.name) }.map {
        ReceivedResource(name: $0.name, version: $0.version, value: $0.resource.value)
      },
      removed: message.removedResources)
    rejected += await handler(update)
    let names = Set(rejected.map(\.name))
    shared.withLock { $0.state.apply(update, rejected: names) }
    return .with {
      $0.typeURL = message.typeURL
      $0.responseNonce = message.nonce
      if !rejected.isEmpty {
        $0.errorDetail.code = 3
        $0.errorDetail.message = NackReport.text(rejected)
      }
    }
  }
}

/// The bounds that every response must keep before its content is looked at.
enum ResponseCheck {
  static func rejections(
    _ message: Envoy_Service_Discovery_V3_DeltaDiscoveryResponse, held: Int
  ) -> [RejectedResource] {
    message.resources.enumerated().compactMap { index, resource in
      let reason: String? =
        if !(1...DiscoveryLimits.nameBytes ~= resource.name.utf8.count) {
          "the name has \(resource.name.utf8.count) bytes; 1 to \(DiscoveryLimits.nameBytes) are allowed"
        } else if resource.resource.value.count > DiscoveryLimits.resourceBytes {
          "\(resource.resource.value.count) bytes; at most \(DiscoveryLimits.resourceBytes) are accepted"
        } else if resource.resource.typeURL != message.typeURL {
          "its type is \(resource.resource.typeURL.prefix(256)), not the response's"
        } else if held + index >= DiscoveryLimits.resourcesPerType {
          "more than \(DiscoveryLimits.resourcesPerType) resources of one type"
        } else {
          nil
        }
      return reason.map {
        RejectedResource(
          typeURL: message.typeURL, name: String(resource.name.prefix(DiscoveryLimits.nameBytes)), reason: $0)
      }
    }
  }
}
