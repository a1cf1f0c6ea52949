import Discovery
import DiscoveryAPI
import Foundation
import KubernetesAPI
import Logging
import Synchronization

/// Tells people by Events what they must know. One that can't be recorded is lost until it is told again: the log has it too.
final class EventRecorder: Sendable {
  private static let queued = 256

  private let client: KubernetesClient
  private let replica: String
  private let logger: Logger
  private let limits = Mutex(EventLimits())
  /// Apart: whatever nodes say of their pods leaves room for the rest.
  private let limitsOfNodes = Mutex(EventLimits())
  private let start = ContinuousClock.now
  private let (events, continuation) = AsyncStream<EventText>.makeStream(bufferingPolicy: .bufferingOldest(queued))

  init(client: KubernetesClient, replica: String, logger: Logger) {
    self.client = client
    self.replica = replica
    self.logger = logger
  }

  func record(_ event: EventText) { _ = record(event, limits) }

  /// The same of what a node says.
  /// - Returns: false: too many at once, it has to be said again later.
  func recordOfNode(_ event: EventText) -> Bool { record(event, limitsOfNodes) }

  private func record(_ event: EventText, _ limits: borrowing Mutex<EventLimits>) -> Bool {
    let now = (ContinuousClock.now - start) / .seconds(1)
    switch limits.withLock({ $0.admit(event, now: now) }) {
    case .send:
      if case .dropped = continuation.yield(event) { return false }
      return true
    case .known: return true
    case .refused: return false
    }
  }

  /// Until the task is cancelled.
  func run() async {
    for await event in events {
      do throws(KubernetesError) {
        try await send(event)
      } catch {
        logger.notice("an event isn't recorded: \(error)")
        limits.withLock { $0.forget(event) }
        limitsOfNodes.withLock { $0.forget(event) }
      }
    }
  }

  private func send(_ event: EventText) async throws(KubernetesError) {
    // Events are found by their object's uid.
    var event = event
    var found: JSONNode?
    for resource in [event.resourceOfObject] + event.olderResources where found == nil {
      event.resourceOfObject = resource
      found = try await client.object(resource, namespace: event.namespace, name: event.name)
    }
    guard let object = found else { return }
    let time = Date().formatted(.iso8601)
    do throws(KubernetesError) {
      try await client.create(
        event.event(of: object, replica: replica, time: time), as: EventText.resource, namespace: event.eventNamespace)
    } catch {
      guard case .conflict = error else { throw error }
      try await sendAgain(event, time: time)
    }
  }

  /// Said before, by whichever replica: it still holds.
  private func sendAgain(_ event: EventText, time: String) async throws(KubernetesError) {
    // weft-control may patch Events, not read them: a patch of nothing is answered with what is there.
    let known = try await merge([:], into: event)
    do throws(KubernetesError) {
      _ = try await merge(EventText.repetition(of: known, time: time), into: event)
    } catch {
      // Another replica has counted it in between: that it holds has been said.
      guard case .conflict = error else { throw error }
    }
  }

  private func merge(_ patch: JSONNode, into event: EventText) async throws(KubernetesError) -> JSONNode {
    try await client.merge(
      patch, into: EventText.resource, namespace: event.eventNamespace, name: event.eventName,
      manager: ClusterNames.manager)
  }
}

extension EventText {
  /// The patch of an Event that is said once more; only if it is still as it is known, so that each time is counted.
  static func repetition(of known: JSONNode, time: String) -> JSONNode {
    // The API's count is an int32.
    let count = min(max(known["count"]?.integer ?? 1, 1), Int(Int32.max) - 1) + 1
    let version: JSONNode = known["metadata"]?["resourceVersion"] ?? .null
    return [
      "metadata": ["resourceVersion": version], "lastTimestamp": .text(time), "count": .number(String(count)),
    ]
  }

  /// An object that is refused.
  init?(refused key: ObjectKey, _ reason: String) {
    guard let resource = key.kind.resources.first else { return nil }
    self.init(
      resourceOfObject: resource, olderResources: Array(key.kind.resources.dropFirst()), kind: key.kind.rawValue,
      namespace: key.name.namespace, name: key.name.name,
      reason: "Refused", message: reason)
  }

  /// What a node refuses of what was sent there; nil: it is of no object.
  init?(_ rejected: RejectedResource, node: String) {
    let parts = rejected.name.split(separator: "/").map(String.init)
    var key: ObjectKey?
    switch rejected.typeURL {
    case Weft_Mesh_V1_Route.typeURL where parts.count == 3:
      key = Kind(rawValue: parts[0]).map { ObjectKey(kind: $0, name: ObjectName(parts[1], parts[2])) }
    case Weft_Mesh_V1_TrafficPolicy.typeURL where parts.count == 2:
      key = ObjectKey(kind: .trafficPolicy, name: ObjectName(parts[0], parts[1]))
    case Weft_Mesh_V1_Service.typeURL where parts.count == 2:
      key = ObjectKey(kind: .service, name: ObjectName(parts[0], parts[1]))
    case Weft_Mesh_V1_Workload.typeURL where parts.count == 2:
      key = ObjectKey(kind: .pod, name: ObjectName(parts[0], parts[1]))
    default: break
    }
    guard let key else { return nil }
    self.init(refused: key, "node \(node): \(rejected.reason)")
    reason = "RefusedByNode"
  }

  /// A meshed pod that its node doesn't carry; nil: no Pod has such a name.
  init?(_ problem: PodProblem, node: String) {
    self.init(pod: problem.workload, "NotEnrolled", "node \(node) doesn't carry it: \(problem.reason)")
  }

  /// A caller that says that it is a node and isn't let in.
  init(node: String, _ error: AttestationError) {
    self.init(
      resourceOfObject: KubernetesResource(version: "v1", plural: "nodes"), kind: "Node", namespace: "", name: node,
      reason: "JoinRefused", message: "weft-agent may not join as this node: \(error)")
  }

  /// A pod that asks for its own certificate and isn't let in.
  init?(pod: String, _ error: AttestationError) {
    self.init(pod: pod, "JoinRefused", "its stub may not join: \(error)")
  }

  /// - Parameter pod: NAMESPACE/NAME.
  private init?(pod: String, _ reason: String, _ message: String) {
    let parts = pod.split(separator: "/").map(String.init)
    guard parts.count == 2 else { return nil }
    self.init(
      resourceOfObject: KubernetesResource(version: "v1", plural: "pods"), kind: "Pod", namespace: parts[0],
      name: parts[1], reason: reason, message: message)
  }

  /// The CA needs a person.
  init(authority reason: String, _ message: String, namespace: String) {
    self.init(
      resourceOfObject: AuthoritySecret.secrets, kind: "Secret", namespace: namespace, name: AuthoritySecret.name,
      reason: reason, message: message)
  }
}
