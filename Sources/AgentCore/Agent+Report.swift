import Discovery
import Dispatch
import Foundation

/// What the control plane is to tell people of this node's pods.
extension Agent {
  /// To be called once a second or so.
  func reportTroubles(now: UInt64) {
    guard !isReporting, !isEnding, let client, client.status.connected, meshIsSettled else { return }
    let reports = troubles.due(uncarried(), now: now)
    guard !reports.isEmpty else { return }
    isReporting = true
    Task {
      defer { isReporting = false }
      do {
        try await client.report(reports)
        troubles.told(reports, now: DispatchTime.now().uptimeNanoseconds)
      } catch {
        // Also a control plane of before, which takes no reports.
        logger.debug("pods' troubles aren't reported: \(error)")
        troubles.failed(reports, now: DispatchTime.now().uptimeNanoseconds)
      }
    }
  }

  /// The meshed pods of this node that are there and aren't carried, and why.
  private func uncarried() -> [String: String] {
    var waiting: [String: String] = [:]
    for workload in mesh.localPods where workload.isCarried(on: configuration.node) {
      guard pods[workload.id]?.lifecycle.phase != .enrolled,
        cgroupPods.cgroup(uid: workload.podUID) != nil || pods[workload.id] != nil
      else { continue }
      // A character has up to four bytes.
      waiting[workload.id] = String(reason(of: workload).unicodeScalars.prefix(PodProblem.reasonBytes / 4))
    }
    return waiting
  }
}
