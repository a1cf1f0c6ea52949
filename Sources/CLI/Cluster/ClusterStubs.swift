import FoundationEssentials
import Injection
import KubernetesAPI

/// The tunnel stubs on nodes without an agent, which nobody else tells of: what each says of itself, through `exec` into its pod.
struct ClusterStubs: Sendable {
  /// Asked at most; of more, the first by name.
  static let bound = 500

  struct Stub: Equatable, Sendable {
    var node: String
    var namespace: String
    var name: String
  }

  var agents: ClusterAgents

  /// Those that the options mean, by name.
  /// - Parameter covered: nodes whose agents tell of their stubs themselves.
  func chosen(_ options: GlobalOptions, but covered: Set<String>) async throws -> [Stub] {
    let reference = options.pod.flatMap(PodReference.init)
    var namespace = options.namespace ?? ""
    if let reference { namespace = reference.namespace ?? options.namespace ?? agents.client.server.namespace }
    var fields = "status.phase%3DRunning"
    if let node = options.node { fields += "%2Cspec.nodeName%3D\(node)" }
    return try await agents.list(namespace, "?limit=500&fieldSelector=\(fields)") { pod in
      guard reference?.matches(pod) ?? true, let stub = Self.stub(of: pod), !covered.contains(stub.node) else {
        return nil
      }
      return stub
    }.sorted { ($0.namespace, $0.name) < ($1.namespace, $1.name) }
  }

  /// nil: the pod has none that runs.
  static func stub(of pod: JSONNode) -> Stub? {
    guard pod.annotation(InjectionNames.injected) == StubKind.tunnel.rawValue,
      let node = pod["spec"]?["nodeName"]?.text, pod["status"]?["phase"]?.text == "Running"
    else { return nil }
    return Stub(node: node, namespace: pod.namespace, name: pod.name)
  }

  /// The answers of the first `bound`, in the order of `stubs`.
  func ask(_ stubs: [Stub]) async -> [NodeAnswer] {
    await ClusterAgents.each(Array(stubs.prefix(Self.bound))) { stub in
      let outcome: Result<Data, Failure>
      do throws(Failure) { outcome = .success(try await status(of: stub)) } catch { outcome = .failure(error) }
      return NodeAnswer(node: stub.node, pod: "\(stub.namespace)/\(stub.name)", outcome: outcome)
    }
  }

  private func status(of stub: Stub) async throws(Failure) -> Data {
    do {
      let outcome = try await agents.client.exec(
        ["/weft-stub", "status"], namespace: stub.namespace, pod: stub.name, container: InjectionNames.stub,
        seconds: agents.patience)
      guard outcome.status == 0 else {
        throw Failure(
          message: "`weft-stub status` ended with status \(outcome.status) in its pod: "
            + Text.printable(String(decoding: outcome.errors.prefix(500), as: UTF8.self)), status: .unhealthy)
      }
      return Data(outcome.output)
    } catch let failure as Failure {
      throw failure
    } catch ExecError.api(.refused(let status, let message)) {
      throw Failure(
        message: "the API server refuses it (\(status)): \(Text.printable(message)). A Role of the namespace "
          + "\(stub.namespace) that may create pods/exec allows it", status: .unhealthy)
    } catch {
      throw AgentExec.failure(error as? ExecError ?? .broken("\(error)"), stub.name)
    }
  }
}
