import DiscoveryAPI
import GRPCCore
import MeshModel

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

/// Takes what nodes say of their pods.
struct ReportService: Weft_Node_V1_NodeReport.SimpleServiceProtocol {
  let onPodProblem: @Sendable (_ node: String, PodProblem) -> Void

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
    for pod in request.pods { onPodProblem(peer.node, PodProblem(workload: pod.workload, reason: pod.reason)) }
    return .init()
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
