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
    let pods = try await agents.list(namespace, "?limit=500").filter { reference?.matches($0) ?? true }
    return Self.stubs(of: pods).filter { stub in
      !covered.contains(stub.node) && options.node.map { $0 == stub.node } ?? true
    }
  }

  static func stubs(of pods: [JSONNode]) -> [Stub] {
    let stubs = pods.compactMap { pod -> Stub? in
      guard pod.annotation(InjectionNames.injected) == StubKind.tunnel.rawValue,
        let node = pod["spec"]?["nodeName"]?.text, pod["status"]?["phase"]?.text == "Running"
      else { return nil }
      return Stub(node: node, namespace: pod.namespace, name: pod.name)
    }
    return Array(stubs.sorted { ($0.namespace, $0.name) < ($1.namespace, $1.name) }.prefix(bound))
  }

  /// The answers of all, in the order of `stubs`.
  func ask(_ stubs: [Stub]) async -> [NodeAnswer] {
    await withTaskGroup(of: (Int, NodeAnswer).self) { group in
      var answers = [NodeAnswer?](repeating: nil, count: stubs.count)
      for (index, stub) in stubs.enumerated() {
        if index >= ClusterAgents.parallel, let (done, answer) = await group.next() { answers[done] = answer }
        group.addTask {
          let pod = "\(stub.namespace)/\(stub.name)"
          let outcome: Result<Data, Failure>
          do throws(Failure) { outcome = .success(try await status(of: stub)) } catch { outcome = .failure(error) }
          return (index, NodeAnswer(node: stub.node, pod: pod, outcome: outcome))
        }
      }
      for await (done, answer) in group { answers[done] = answer }
      return answers.compactMap { $0 }
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
    } catch {
      throw AgentExec.failure(error as? ExecError ?? .broken("\(error)"), stub.name)
    }
  }
}
