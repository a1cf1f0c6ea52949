import Foundation
import KubernetesAPI
import SwiftASN1
import X509

/// The roots that agents verify the control plane by, and those that the API server verifies the webhook by.
enum CertificateChecks {
  /// Seconds before its end that a root is told of.
  private static let notice: TimeInterval = 30 * 86400

  static func findings(_ facts: ClusterFacts) -> [Finding] { roots(facts) + webhook(facts) }

  static func roots(_ facts: ClusterFacts) -> [Finding] {
    let check = "CA"
    let place = "ConfigMap weft-system/weft-roots"
    switch facts.roots {
    case .unknown: return facts.roots.ignorance(of: check)
    case .absent:
      return [
        Finding(
          severity: .error, check: check, place: place, reason: "isn't there, and agents don't start without it",
          repair: "kubectl -n weft-system rollout restart deployment/weft-control")
      ]
    case .found(let map):
      return judge(
        map["data"]?["ca.pem"]?.text ?? "", check: check, place: place, now: facts.now,
        repair: "kubectl -n weft-system rollout restart deployment/weft-control",
        // What has ended can't be taken over from; weft-control, agents and stubs go over to the new one by themselves.
        expired: "kubectl -n weft-system delete secret weft-ca",
        early: "rotate it before: a new root beside the old one in the Secret weft-ca (README, Deploy to Kubernetes)")
    }
  }

  static func webhook(_ facts: ClusterFacts) -> [Finding] {
    let check = "webhook"
    let place = "MutatingWebhookConfiguration weft-injector"
    switch facts.webhook {
    case .unknown: return facts.webhook.ignorance(of: check)
    case .absent:
      return [
        Finding(
          severity: .warning, check: check, place: place, reason: "isn't there, so no pod gets a stub",
          repair: "weft upgrade")
      ]
    case .found(let configuration):
      let bundles = (configuration["webhooks"]?.elements ?? []).map { $0["clientConfig"]?["caBundle"]?.text ?? "" }
      let findings = Set(bundles).sorted().flatMap { bundle in
        judge(
          Data(base64Encoded: bundle).map { String(decoding: $0, as: UTF8.self) } ?? "", check: check, place: place,
          now: facts.now, repair: "kubectl -n weft-system rollout restart deployment/weft-control")
      }
      let problems = findings.filter { $0.severity != .ok }
      return problems.isEmpty ? Array(findings.prefix(1)) : problems
    }
  }

  /// - Parameters:
  ///   - pem: certificates one after another.
  ///   - expired: what is to be done once they have expired, and `early` before, where that is something else.
  private static func judge(
    _ pem: String, check: String, place: String, now: Date, repair: String, expired: String? = nil,
    early: String? = nil
  ) -> [Finding] {
    func finding(_ severity: Finding.Severity, _ reason: String) -> [Finding] {
      let repair = severity == .warning ? early ?? repair : repair
      return [Finding(severity: severity, check: check, place: place, reason: reason, repair: repair)]
    }
    let certificates: [Certificate]
    do {
      certificates = try PEMDocument.parseMultiple(pemString: pem).map { try Certificate(pemDocument: $0) }
    } catch {
      return finding(.error, "holds no certificates that can be read")
    }
    guard let last = certificates.map(\.notValidAfter).max(), let first = certificates.map(\.notValidBefore).min()
    else {
      return finding(.error, "holds no certificate")
    }
    let end = last.formatted(.iso8601)
    if last < now {
      let reason = "its last certificate has expired, at \(end)"
      return [Finding(severity: .error, check: check, place: place, reason: reason, repair: expired ?? repair)]
    }
    if first > now { return finding(.error, "isn't valid before \(first.formatted(.iso8601)): is a clock wrong?") }
    if last < now.addingTimeInterval(notice) {
      return finding(.warning, "expires in \(Text.duration(last.timeIntervalSince(now))), at \(end)")
    }
    return [.ok(check, "valid until \(end)")]
  }
}
