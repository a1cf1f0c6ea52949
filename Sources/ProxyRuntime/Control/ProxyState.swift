import DiscoveryAPI
import Glibc
import MeshModel
import ProxyCore

/// What the agent has told, as the control thread holds it: enough to tell a new agent, and to make what workers need.
struct ProxyState {
  struct Pod {
    var listeners: [(kind: ListenerKind, fd: Int32)]
  }

  private struct Credentials {
    var chain: [[UInt8]]
    var key: [UInt8]
  }

  /// A change that comes in parts, as far as it has come.
  private enum Parts {
    case none
    case collected(MeshSnapshotUpdate)
    case spoilt
  }

  /// Of one change; what discovery accepts of its four types.
  private static let resourcesBound = 4_000_000

  private var parts = Parts.none
  private(set) var pods: [String: Pod] = [:]
  private(set) var snapshot = MeshSnapshot()
  private var roots: [[UInt8]] = []
  private var credentials: [SPIFFEID: Credentials] = [:]

  /// Takes the listeners; closes those that they replace.
  mutating func add(pod id: String, listeners: [(ListenerKind, Int32)]) {
    remove(pod: id)
    pods[id] = Pod(listeners: listeners.map { (kind: $0.0, fd: $0.1) })
  }

  mutating func remove(pod id: String) {
    guard let pod = pods.removeValue(forKey: id) else { return }
    for listener in pod.listeners { close(listener.fd) }
  }

  /// Checks the whole change first: an error leaves everything as it was.
  /// - Returns: whether there is another snapshot; not before the last part of the change has come.
  mutating func apply(_ update: Weft_Proxy_V1_MeshUpdate) throws(InvalidResource) -> Bool {
    var change = MeshSnapshotUpdate()
    switch parts {
    case .none: change.isComplete = update.complete
    case .collected(let before): change = before
    case .spoilt:
      if !update.more { parts = .none }
      throw InvalidResource(resource: "mesh update", field: "more", reason: "follows a part that can't be used")
    }
    // Not held twice while it grows.
    parts = update.more ? .spoilt : .none
    change.node = update.node
    change.now = EventLoop.clock()
    try Self.read(update, into: &change)
    guard !update.more else {
      parts = .collected(change)
      return false
    }
    snapshot = snapshot.applying(change)
    return true
  }

  /// What another agent had begun to tell.
  mutating func forgetParts() { parts = .none }

  private static func read(
    _ update: Weft_Proxy_V1_MeshUpdate, into change: inout MeshSnapshotUpdate
  ) throws(InvalidResource) {
    if update.hasConfig { change.config = try MeshConfig(update.config) }
    let count = change.workloads.count + change.services.count + change.routes.count + change.policies.count
    guard count <= resourcesBound else {
      throw InvalidResource(resource: "mesh update", field: "more", reason: "has over \(resourcesBound) resources")
    }
    for workload in update.workloads { change.workloads.append(try Workload(workload)) }
    for service in update.services { change.services.append(try Service(service)) }
    change.removedWorkloads += update.removedWorkloads
    change.removedServices += update.removedServices.compactMap { ServiceKey($0) }
    for route in update.routes { change.routes.append(try Route(route)) }
    for policy in update.policies { change.policies.append(try TrafficPolicy(policy)) }
    change.removedRoutes += update.removedRoutes
    change.removedPolicies += update.removedPolicies
  }

  mutating func set(_ message: Weft_Proxy_V1_Identity) throws -> TLSIdentity? {
    guard let id = SPIFFEID(message.spiffeID) else {
      throw InvalidResource(resource: "identity", field: "spiffe_id", reason: "is not a workload's SPIFFE ID")
    }
    let previous = credentials[id]
    credentials[id] = Credentials(chain: message.chain.map { Array($0) }, key: Array(message.privateKey))
    guard !roots.isEmpty else { return nil }
    do throws(TLSFailure) { return try makeIdentity(id) } catch {
      credentials[id] = previous
      throw error
    }
  }

  /// Every identity anew, to trust these roots: one that is broken keeps no other from it. A bundle that suits none
  /// changes nothing.
  mutating func set(_ bundle: Weft_Proxy_V1_TrustBundle) -> (made: [TLSIdentity], failures: [TLSFailure]) {
    let previous = roots
    roots = bundle.roots.map { Array($0) }
    var made: [TLSIdentity] = []
    var failures: [TLSFailure] = []
    for id in credentials.keys {
      do throws(TLSFailure) { made.append(try makeIdentity(id)) } catch { failures.append(error) }
    }
    if made.isEmpty, !failures.isEmpty { roots = previous }
    return (made, failures)
  }

  private func makeIdentity(_ id: SPIFFEID) throws(TLSFailure) -> TLSIdentity {
    guard let credentials = credentials[id] else { throw TLSFailure(reason: "no certificate for \(id)") }
    return try TLSIdentity(id: id, chain: credentials.chain, key: credentials.key, roots: roots)
  }
}

extension ListenerKind {
  init?(_ listener: Weft_Proxy_V1_Listener) {
    guard let kind = ListenerKind(rawValue: listener.rawValue) else { return nil }
    self = kind
  }

  var message: Weft_Proxy_V1_Listener { Weft_Proxy_V1_Listener(rawValue: rawValue) ?? .outbound }
}

extension SocketKind {
  init?(_ kind: Weft_Proxy_V1_SocketKind) {
    guard let value = SocketKind(rawValue: kind.rawValue) else { return nil }
    self = value
  }

  var message: Weft_Proxy_V1_SocketKind { Weft_Proxy_V1_SocketKind(rawValue: rawValue) ?? .egressV4 }
}
