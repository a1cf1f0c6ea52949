import DiscoveryAPI
import GRPCCore
import MeshModel
import Synchronization

/// A meshed pod that its node doesn't carry.
public struct PodProblem: Hashable, Sendable {
  /// NAMESPACE/NAME.
  public var workload: String
  /// For people.
  public var reason: String

  public init(workload: String, reason: String) {
    self.workload = workload
    self.reason = reason
  }

  /// Of one report.
  public static let bound = 64
  /// Bytes of a reason.
  public static let reasonBytes = 1024
}

/// How much nodes may report: each so many pods a minute. Pure: the time is passed in, in seconds.
struct ReportLimits: Sendable {
  static let pods = PodProblem.bound
  static let minute = 60.0
  /// Nodes that are remembered; all are forgotten at once.
  static let nodes = 20_000

  private var used: [String: (since: Double, count: Int)] = [:]

  mutating func admit(_ count: Int, of node: String, now: Double) -> Bool {
    var entry = used[node] ?? (now, 0)
    if now >= entry.since + Self.minute { entry = (now, 0) }
    guard entry.count + count <= Self.pods else { return false }
    if used.count >= Self.nodes, used[node] == nil { used = [:] }
    used[node] = (entry.since, entry.count + count)
    return true
  }
}

/// Takes what nodes say of their pods.
final class ReportService: Weft_Node_V1_NodeReport.SimpleServiceProtocol {
  private let onPodProblem: @Sendable (_ node: String, PodProblem) -> Bool
  private let limits = Mutex(ReportLimits())
  private let start = ContinuousClock.now

  init(onPodProblem: @escaping @Sendable (_ node: String, PodProblem) -> Bool) { self.onPodProblem = onPodProblem }

  func reportPods(
    request: Weft_Node_V1_PodReport, context: ServerContext
  ) async throws -> Weft_Node_V1_PodReportAnswer {
    let peer = try PeerNode(context)
    guard request.pods.count <= PodProblem.bound,
      request.pods.allSatisfy({
        $0.reason.utf8.count <= PodProblem.reasonBytes && $0.workload.utf8.count <= DiscoveryLimits.nameBytes
      })
    else {
      throw RPCError(
        code: .invalidArgument,
        message: "a report has at most \(PodProblem.bound) pods, with reasons of up to \(PodProblem.reasonBytes) bytes")
    }
    let now = (ContinuousClock.now - start) / .seconds(1)
    guard limits.withLock({ $0.admit(request.pods.count, of: peer.node, now: now) }) else {
      throw RPCError(code: .resourceExhausted, message: "a node reports at most \(ReportLimits.pods) pods a minute")
    }
    // All of them, also after one that isn't taken: what stands there already isn't said twice.
    let taken = request.pods.map { pod in
      onPodProblem(peer.node, PodProblem(workload: pod.workload, reason: Self.printable(pod.reason)))
    }
    guard taken.allSatisfy(\.self) else {
      throw RPCError(code: .resourceExhausted, message: "too many events at once: say it again in a minute")
    }
    return .init()
  }

  /// Without what a terminal might obey.
  private static func printable(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : $0 }))
  }
}

extension DiscoveryClient {
  /// Has people told of pods that this node doesn't carry, over the connection in use. At most `PodProblem.bound`.
  public func report(_ pods: [PodProblem]) async throws(DiscoveryError) {
    guard let client = shared.withLock({ $0.status.connected ? $0.client : nil }) else {
      throw DiscoveryError(.unreachable, "\(configuration.control): not connected")
    }
    let request = Weft_Node_V1_PodReport.with {
      $0.pods = pods.map { pod in
        .with {
          $0.workload = pod.workload
          $0.reason = pod.reason
        }
      }
    }
    do {
      _ = try await Weft_Node_V1_NodeReport.Client(wrapping: client).reportPods(
        request, options: ControlTransport.options(timeout: .seconds(configuration.timeout)))
    } catch {
      throw ControlTransport.explain(error, configuration.control, refusal: nil)
    }
  }
}
