import Capture
import DiscoveryAPI
import Foundation
import Identity

/// The proxy: told everything when it appears, and each change from then on.
extension Agent {
  /// Tells a proxy all that it needs in one go, so that it serves before anything is answered.
  func connected(
    _ link: ProxyLink,
    _ inventory: [(uid: String, listeners: [Weft_Proxy_V1_Listener], descriptors: [Int32])]
  ) {
    self.link = link
    let order = PodListener.allCases.map(\.rawValue)
    for pod in inventory {
      if pods[pod.uid]?.listeners.isEmpty == false || pod.listeners.map(\.rawValue) != order {
        for fd in pod.descriptors { close(fd) }
      } else {
        adopted[pod.uid] = pod.descriptors
      }
    }
    link.send(.with { $0.trustBundle.roots = trustBundle.roots.map { Data($0) } })
    for entry in identities.entries.values { if let held = entry.held { push(held) } }
    for update in mesh.completeUpdates() { push(update) }
    for uid in pods.keys { hand(uid) }
    logger.info("the proxy is connected", metadata: ["pods": "\(inventory.count)"])
  }

  func push(_ identity: HeldIdentity) {
    link?.send(
      .with {
        $0.identity.spiffeID = identity.certificate.spiffeID
        $0.identity.chain = identity.certificate.chain.map { Data($0) }
        $0.identity.privateKey = Data(identity.key.pkcs8DER)
      })
  }

  func push(_ update: Weft_Proxy_V1_MeshUpdate) {
    meshVersion += 1
    var update = update
    update.version = meshVersion
    update.node = configuration.node
    link?.send(.with { $0.mesh = update })
  }

  func received(_ message: Weft_Proxy_V1_FromProxy) {
    switch message.body {
    case .podReady(let pod): perform(pods[pod.uid]?.lifecycle.proxyReady() ?? [], pod.uid)
    case .needSockets(let need):
      if let kind = PodSocketKind(rawValue: need.kind.rawValue) { sendSockets(need.uid, kind, count: Int(need.count)) }
    case .meshAck(let ack):
      meshRejection = ack.error
      if !ack.error.isEmpty {
        logger.error("the proxy refused an update", metadata: ["version": "\(ack.version)", "error": "\(ack.error)"])
      }
    case .queryReply(let reply): queries.removeValue(forKey: reply.id)?.resume(returning: reply.json)
    case .hello, .drained, nil: break
    }
  }

  /// Asks the proxy; nil where none answers within 2 s.
  func ask(_ what: String) async -> Data? {
    guard let link, queries.count < 64 else { return nil }
    nextQuery += 1
    let id = nextQuery
    Task {
      try? await Task.sleep(for: .seconds(2))
      queries.removeValue(forKey: id)?.resume(returning: nil)
    }
    return await withCheckedContinuation { continuation in
      queries[id] = continuation
      link.send(
        .with {
          $0.query.id = id
          $0.query.what = what
        })
    }
  }
}
