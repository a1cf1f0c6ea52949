import MeshModel
import ProxyCore

/// A worker's upstream connections that are idle: of one source workload to one endpoint, used again by its requests and by
/// nobody else's, since the application and the mesh see the source's address and identity; and by requests to which those
/// limits apply that count the connection.
final class UpstreamPool {
  struct Key: Hashable {
    let source: String
    let target: OutboundRoute.Endpoint
    let limits: CircuitLimits

    static func == (left: Key, right: Key) -> Bool {
      left.limits === right.limits && left.source == right.source && left.target == right.target
    }

    func hash(into hasher: inout Hasher) {
      // Address and source differ wherever anything does.
      hasher.combine(target.address)
      hasher.combine(source)
    }
  }

  /// Below what servers commonly wait for the next request.
  static let idleTimeout: NanoTime = .seconds(55)
  private static let idleBound = 16_384

  let loop: EventLoop
  private var idle: [Key: [HTTP1Upstream]] = [:]
  private var idleCount = 0
  private var groups: [Key: HTTP2UpstreamGroup] = [:]

  init(loop: EventLoop) { self.loop = loop }

  /// What is there already: an idle connection, or room on one of HTTP/2.
  func take(_ key: Key, isHTTP2: Bool) -> (any Upstream)? {
    if isHTTP2 { return groups[key]?.stream() }
    while let index = idle.index(forKey: key), let upstream = idle.values[index].popLast() {
      idleCount -= 1
      guard !upstream.isLeaving else {
        upstream.close()
        continue
      }
      upstream.slot?.becameBusy()
      return upstream
    }
    return nil
  }

  /// Opens a connection, or waits for one of HTTP/2 that others are opening. `completion` is called once, perhaps before
  /// this returns; not after the attempt was cancelled.
  /// - Parameters:
  ///   - slot: of HTTP/1.1; those of HTTP/2 are taken for several requests at once.
  ///   - mayWait: for a place, or until others of HTTP/2 end.
  func open(
    _ key: Key, isHTTP2: Bool, for client: HTTPClient, cluster: Cluster, slot: ConnectionSlot?, mayWait: Bool = true,
    worker: Worker, completion: @escaping (Result<any Upstream, UpstreamFailure>) -> Void
  ) -> any UpstreamOpening {
    if isHTTP2 {
      let group = groups[key] ?? HTTP2UpstreamGroup(key: key, worker: worker)
      groups[key] = group
      return group.wait(client, cluster, mayWait: mayWait, completion)
    }
    let request = StreamTarget(
      source: client.workload, client: client.address, endpoint: key.target, timeout: cluster.policy.connectTimeout)
    return worker.open(request) { [unowned self] result in
      switch result {
      case .success(let stream):
        completion(.success(HTTP1Upstream(stream: stream, target: key, pool: self, slot: slot)))
      case .failure(let failure):
        slot?.release()
        completion(.failure(.connect(failure)))
      }
    }
  }

  /// The last used is used first: what isn't needed grows old.
  func keep(_ upstream: HTTP1Upstream) {
    guard idleCount < Self.idleBound, upstream.slot?.mayIdle != false, !upstream.isLeaving else {
      return upstream.close()
    }
    idleCount += 1
    idle[upstream.target, default: []].append(upstream)
    upstream.slot?.becameIdle()
  }

  /// A place for one more connection to a cluster, if need be that of an idle connection to another of its endpoints;
  /// nil: as many are open as may be.
  func takeSlot(of cluster: Cluster) -> ConnectionSlot? {
    if let slot = cluster.takeSlot() { return slot }
    yieldSlot(of: cluster)
    return cluster.takeSlot()
  }

  /// Ends one of the cluster's idle connections; false: there is none.
  @discardableResult func yieldSlot(of cluster: Cluster) -> Bool {
    guard cluster.slots.idleCount > 0 else { return false }
    if let upstream = idleConnection(of: cluster) {
      upstream.slot?.yield()
      upstream.close()
      return true
    }
    return groups.values.contains { $0.yieldSlot(of: cluster) }
  }

  private func idleConnection(of cluster: Cluster) -> HTTP1Upstream? {
    for list in idle.values {
      if let upstream = list.first(where: { $0.slot?.isOf(cluster) == true }) { return upstream }
    }
    return nil
  }

  /// It is closed, or carries something else than HTTP now.
  func remove(_ upstream: HTTP1Upstream) {
    guard let index = idle.index(forKey: upstream.target),
      let place = idle.values[index].firstIndex(where: { $0 === upstream })
    else { return }
    idle.values[index].remove(at: place)
    idleCount -= 1
  }

  func sweep(now: NanoTime) {
    for (key, list) in idle {
      for upstream in list where upstream.isLeaving || now > upstream.idleSince + Self.idleTimeout { upstream.close() }
      if idle[key]?.isEmpty == true { idle[key] = nil }
    }
    for (key, group) in groups where group.sweep(now: now) { groups[key] = nil }
  }

  /// The workload has left the mesh or is gone: idle connections of it, and to it, end.
  func drain(workload: String) {
    for (key, list) in idle where key.source == workload || key.target.workloadID == workload {
      for upstream in list { upstream.close() }
      idle[key] = nil
    }
    for (key, group) in groups where key.source == workload || key.target.workloadID == workload { group.drain() }
  }
}
