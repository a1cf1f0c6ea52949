import Foundation
import KubernetesAPI

/// A Lease as leader election uses it (coordination.k8s.io/v1).
struct Lease: Hashable, Sendable {
  static let name = "weft-control"
  static let resource = KubernetesResource(group: "coordination.k8s.io", version: "v1", plural: "leases")

  /// Empty: given up.
  var holder = ""
  /// Seconds.
  var duration = 15
  var acquired = ""
  /// Of the holder's clock: told apart, and never compared with one's own.
  var renewed = ""
  var transitions = 0
  /// Of the object as it was read; empty: there is none yet.
  var resourceVersion = ""

  init() {}

  init(_ object: JSONNode) {
    let spec = object["spec"]
    holder = spec?["holderIdentity"]?.text ?? ""
    duration = min(max(spec?["leaseDurationSeconds"]?.integer ?? 15, 1), 3600)
    acquired = spec?["acquireTime"]?.text ?? ""
    renewed = spec?["renewTime"]?.text ?? ""
    transitions = spec?["leaseTransitions"]?.integer ?? 0
    resourceVersion = object["metadata"]?["resourceVersion"]?.text ?? ""
  }

  func object(namespace: String) -> JSONNode {
    var metadata: [JSONNode.Member] = [
      .init(key: "name", value: .text(Self.name)), .init(key: "namespace", value: .text(namespace)),
    ]
    if !resourceVersion.isEmpty {
      metadata.append(.init(key: "resourceVersion", value: .text(resourceVersion)))
    }
    return [
      "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": .object(metadata),
      "spec": [
        "holderIdentity": .text(holder), "leaseDurationSeconds": .number(String(duration)),
        "acquireTime": .text(acquired), "renewTime": .text(renewed), "leaseTransitions": .number(String(transitions)),
      ],
    ]
  }

  /// `metav1.MicroTime`: exactly six digits after the point.
  static func time(_ date: Date) -> String {
    String(date.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true)).dropLast()) + "000Z"
  }
}

/// Who leads, decided as client-go does: a Lease whose holder hasn't renewed it for its duration, as watched from here, is
/// free; a holder that couldn't renew it gives up before others may take it. No clocks of other machines are compared.
/// Pure; `now` is seconds of a clock that doesn't go back.
struct LeaseElection: Sendable {
  /// Seconds: others may take the Lease after `duration` without a renewal; its holder gives up after `deadline`.
  static let duration = 15
  static let deadline = 10.0
  static let interval = 2.0

  let identity: String
  private var seen: (lease: Lease, since: Double)?
  /// When the last renewal that was confirmed had been sent.
  private var renewed: Double?

  init(identity: String) { self.identity = identity }

  /// Whether this replica leads; asked before each write.
  func isLeader(now: Double) -> Bool { renewed.map { now < $0 + Self.deadline } ?? false }

  /// Takes what the API server has.
  /// - Parameters:
  ///   - found: nil: there is no Lease.
  ///   - time: of the wall clock, for people who read it.
  /// - Returns: what to write; nil: another one leads.
  mutating func decide(_ found: Lease?, time: String, now: Double) -> Lease? {
    guard var lease = found else {
      seen = nil
      return mine(Lease(), time)
    }
    if seen?.lease.renewed != lease.renewed || seen?.lease.holder != lease.holder { seen = (lease, now) }
    if lease.holder == identity {
      lease.renewed = time
      lease.duration = Self.duration
      return lease
    }
    renewed = nil
    let isFree = lease.holder.isEmpty || now >= (seen?.since ?? now) + Double(lease.duration)
    return isFree ? mine(lease, time) : nil
  }

  private func mine(_ lease: Lease, _ time: String) -> Lease {
    var lease = lease
    if !lease.resourceVersion.isEmpty { lease.transitions += 1 }
    lease.holder = identity
    lease.duration = Self.duration
    lease.acquired = time
    lease.renewed = time
    return lease
  }

  /// The API server has taken the write that was sent at `sent`.
  mutating func written(sent: Double) { renewed = sent }

  /// Another one has written first.
  mutating func lost() { renewed = nil }

  /// What gives the Lease up, so that the next one needn't wait; nil: it isn't held.
  mutating func release(_ found: Lease?, time: String) -> Lease? {
    renewed = nil
    guard var lease = found, lease.holder == identity else { return nil }
    lease.holder = ""
    lease.duration = 1
    lease.renewed = time
    return lease
  }
}
