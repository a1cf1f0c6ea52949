import Discovery
import Foundation
import KubernetesAPI
import Logging
import Synchronization

/// How the leader learns of the nodes of the other replicas: each keeps its report under its own key of one ConfigMap, the
/// leader too, for the one after it, which reads them.
final class ReplicaReports: Sendable {
  static let name = "weft-deliveries"
  /// What has changed is written once in this time; the leader reads as often as it renews its Lease. Seconds.
  private static let pause = Duration.seconds(1)
  private static let reading = 2.0
  /// Without a change a report is written again after this time. Of a replica whose report hasn't been for the second nothing
  /// is known: it may serve what is old. After the third it is taken for gone. Seconds, as watched from here.
  private static let beat = 10.0
  private static let patience = 30.0
  private static let memory = 90.0
  private static let maximumReplicas = 16

  private struct Seen: Sendable {
    var text: String
    /// nil: none of this version.
    var report: ReplicaReport?
    var since: Double
  }

  private struct Known: Sendable {
    var replicas: [String: Seen] = [:]
    /// Since this replica leads.
    var wasRead = false
  }

  private let map: SharedMap
  private let key: String
  private let own: @Sendable () -> DeliveryReport
  private let isLeader: @Sendable () -> Bool
  private let onChange: @Sendable () -> Void
  private let logger: Logger
  private let known = Mutex(Known())
  private let start = ContinuousClock.now

  /// - Parameters:
  ///   - replica: its name, unlike all others'.
  ///   - own: of this replica's nodes.
  ///   - onChange: another one tells something new.
  init(
    client: KubernetesClient, namespace: String, replica: String, isLeader: @escaping @Sendable () -> Bool,
    logger: Logger, own: @escaping @Sendable () -> DeliveryReport, onChange: @escaping @Sendable () -> Void
  ) {
    map = SharedMap(client: client, namespace: namespace, name: Self.name)
    key = replica
    self.own = own
    self.isLeader = isLeader
    self.onChange = onChange
    self.logger = logger
  }

  /// Of all replicas' nodes. Nothing is settled before the others were asked.
  var all: DeliveryReport {
    let now = now
    let others = known.withLock { known in
      known.wasRead ? known.replicas.values.map { now < $0.since + Self.patience ? $0.report : nil } : [nil]
    }
    return own().joined(others)
  }

  /// Until the task is cancelled.
  func run() async {
    var told: (report: ReplicaReport, at: Double)?
    var read = -Self.reading
    var hasFailed = false
    while !Task.isCancelled {
      do throws(KubernetesError) {
        var report = ReplicaReport(own())
        if told.map({ !$0.report.isSame(as: report) || now >= $0.at + Self.beat }) ?? true {
          report.beat = (told?.report.beat ?? 0) + 1
          try await write(report)
          told = (report, now)
        }
        if !isLeader() {
          known.withLock { $0 = Known() }
        } else if now >= read + Self.reading {
          try await self.read()
          read = now
        }
        hasFailed = false
      } catch {
        logger.log(level: hasFailed ? .debug : .warning, "the ConfigMap \(map.namespace)/\(Self.name): \(error)")
        hasFailed = true
      }
      try? await Task.sleep(for: Self.pause)
    }
  }

  /// Takes this replica's report back, if the API server is there.
  func leave() async { try? await write(nil) }

  private func read() async throws(KubernetesError) {
    let told = try await map.read()
    let now = now
    var (isNew, gone): (Bool, [String]) = (false, [])
    known.withLock { known in
      var next: [String: Seen] = [:]
      for (name, text) in told.sorted(by: { $0.key < $1.key }) where name != key {
        var entry = Seen(text: text, report: ReplicaReport(text: text), since: now)
        if let before = known.replicas[name], before.text == text { entry.since = before.since }
        guard now < entry.since + Self.memory, next.count < Self.maximumReplicas else {
          gone.append(name)
          continue
        }
        next[name] = entry
      }
      isNew = !known.wasRead || next.mapValues { $0.report?.kinds } != known.replicas.mapValues { $0.report?.kinds }
      known = Known(replicas: next, wasRead: true)
    }
    if isNew { onChange() }
    if !gone.isEmpty {
      try await map.write([:], removing: gone, creates: false)
    }
  }

  /// - Parameter report: nil: none any more.
  private func write(_ report: ReplicaReport?) async throws(KubernetesError) {
    guard let report else { return try await map.write([:], removing: [key], creates: false) }
    try await map.write([key: report.text], creates: true)
  }

  private var now: Double { (ContinuousClock.now - start) / .seconds(1) }
}
