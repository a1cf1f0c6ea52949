import Discovery
import Foundation
import KubernetesAPI
import Logging
import Synchronization

/// How the leader learns of the nodes of the other replicas: each of these keeps its report under its own key of one
/// ConfigMap, and the leader reads it.
final class ReplicaReports: Sendable {
  static let name = "weft-deliveries"
  private static let resource = KubernetesResource(version: "v1", plural: "configmaps")
  /// A follower writes what has changed once in this time; the leader reads as often as it renews its Lease.
  private static let writing = Duration.seconds(1)
  private static let reading = Duration.seconds(2)
  /// Without a change a report is written again after this time; one that hasn't been for the second is its replica's last,
  /// and after the third it is removed. Seconds, as watched from here.
  private static let beat = 10.0
  private static let patience = 30.0
  private static let memory = 300.0
  private static let maximumReplicas = 16

  private struct Seen: Sendable {
    var report: ReplicaReport
    var since: Double
  }

  private let client: KubernetesClient
  private let namespace: String
  private let key: String
  private let own: @Sendable () -> DeliveryReport
  private let isLeader: @Sendable () -> Bool
  private let onChange: @Sendable () -> Void
  private let logger: Logger
  private let seen = Mutex<[String: Seen]>([:])
  private let start = ContinuousClock.now

  /// - Parameters:
  ///   - replica: its name, unlike all others'.
  ///   - own: of this replica's nodes.
  ///   - onChange: another one tells something new.
  init(
    client: KubernetesClient, namespace: String, replica: String, isLeader: @escaping @Sendable () -> Bool,
    logger: Logger, own: @escaping @Sendable () -> DeliveryReport, onChange: @escaping @Sendable () -> Void
  ) {
    self.client = client
    self.namespace = namespace
    key = replica
    self.own = own
    self.isLeader = isLeader
    self.onChange = onChange
    self.logger = logger
  }

  /// Of all replicas' nodes, as far as they tell.
  var all: DeliveryReport {
    let now = now
    return own().joined(seen.withLock { $0.values.filter { now < $0.since + Self.patience }.map(\.report) })
  }

  /// Until the task is cancelled.
  func run() async {
    var told: (report: ReplicaReport, at: Double)?
    while !Task.isCancelled {
      do throws(KubernetesError) {
        if isLeader() {
          if told != nil { try await write(nil) }
          told = nil
          try await read()
        } else {
          seen.withLock { $0 = [:] }
          var report = ReplicaReport(own())
          if told.map({ !$0.report.isSame(as: report) || now >= $0.at + Self.beat }) ?? true {
            report.beat = (told?.report.beat ?? 0) + 1
            try await write(report)
            told = (report, now)
          }
        }
      } catch {
        logger.debug("the ConfigMap \(namespace)/\(Self.name): \(error)")
      }
      try? await Task.sleep(for: isLeader() ? Self.reading : Self.writing)
    }
  }

  /// Takes this replica's report back, if the API server is there.
  func leave() async { try? await write(nil) }

  private func read() async throws(KubernetesError) {
    let map = try await client.object(Self.resource, namespace: namespace, name: Self.name)
    var told: [(name: String, text: String)] = []
    if case .object(let members)? = map?["data"] { told = members.map { ($0.key, $0.value.text ?? "") } }
    let now = now
    var (isNew, gone): (Bool, [String]) = (false, [])
    seen.withLock { seen in
      var next: [String: Seen] = [:]
      for (name, text) in told where name != key {
        guard let report = ReplicaReport(text: text), next.count < Self.maximumReplicas else {
          gone.append(name)
          continue
        }
        var entry = Seen(report: report, since: now)
        if let before = seen[name] {
          isNew = isNew || !before.report.isSame(as: report)
          if before.report == report { entry.since = before.since }
        } else {
          isNew = true
        }
        if now < entry.since + Self.memory { next[name] = entry } else { gone.append(name) }
      }
      isNew = isNew || seen.keys.contains { next[$0] == nil }
      seen = next
    }
    if isNew { onChange() }
    if !gone.isEmpty {
      try await patch(.object(gone.map { JSONNode.Member(key: $0, value: .null) }))
    }
  }

  /// - Parameter report: nil: none any more.
  private func write(_ report: ReplicaReport?) async throws(KubernetesError) {
    let value = report.map { JSONNode.text($0.text) } ?? .null
    try await patch(.object([JSONNode.Member(key: key, value: value)]), creates: report != nil)
  }

  private func patch(_ data: JSONNode, creates: Bool = false) async throws(KubernetesError) {
    do throws(KubernetesError) {
      try await client.merge(
        ["data": data], into: Self.resource, namespace: namespace, name: Self.name, manager: ClusterNames.manager)
    } catch {
      guard case .notFound = error else { throw error }
      guard creates else { return }
      try await client.create(
        [
          "apiVersion": "v1", "kind": "ConfigMap",
          "metadata": ["name": .text(Self.name), "namespace": .text(namespace)], "data": data,
        ], as: Self.resource, namespace: namespace)
    }
  }

  private var now: Double { (ContinuousClock.now - start) / .seconds(1) }
}
