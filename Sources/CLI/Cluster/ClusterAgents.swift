import FoundationEssentials
import KubernetesAPI

/// The agents of a cluster: where each is, and what each answers, through `exec` into its pod.
struct ClusterAgents: Sendable {
  static let namespace = "weft-system"
  static let container = "weft-agent"
  /// Agents asked at a time.
  static let parallel = 16
  private static let pods = KubernetesResource(version: "v1", plural: "pods")

  struct Agent: Equatable, Sendable {
    var node: String
    var pod: String
  }

  var client: KubernetesClient
  /// Seconds for each answer.
  var patience = 15

  /// By node, of those pods that run.
  func all() async throws -> [Agent] {
    Self.agents(of: try await pods(of: "weft-agent"))
  }

  /// Whether Weft was installed here so that pods have stubs only; false where that can't be read.
  func hasNoAgents() async -> Bool {
    let path = KubernetesResource(version: "v1", plural: "configmaps").path(namespace: Self.namespace)
    guard let record = try? await client.document("\(path)/\(Rendering.record)") else { return false }
    return (try? InstallRecord(record))?.overlay.hasAgents == false
  }

  /// The installation's pods of one program.
  func pods(of program: String) async throws -> [JSONNode] {
    try await list(Self.namespace, "?labelSelector=app.kubernetes.io%2Fname%3D\(program)&limit=500")
  }

  static func agents(of pods: [JSONNode]) -> [Agent] {
    pods.compactMap { pod -> Agent? in
      guard let node = pod["spec"]?["nodeName"]?.text, let name = pod["metadata"]?["name"]?.text,
        pod["status"]?["phase"]?.text == "Running", pod["metadata"]?["deletionTimestamp"] == nil
      else { return nil }
      return Agent(node: node, pod: name)
    }.sorted { ($0.node, $0.pod) < ($1.node, $1.pod) }
  }

  /// Those that the options mean: a node's, those of a pod's nodes, or all.
  func chosen(_ options: GlobalOptions) async throws -> [Agent] {
    let agents = try await all()
    guard !agents.isEmpty else {
      throw Failure(
        message: "No agent runs in \(Self.namespace) of \(client.server.url). Install Weft with `weft install`, or see "
          + "`weft check` for what keeps its pods from running.", status: .unreachable)
    }
    let nodes: Set<String>
    if let node = options.node {
      nodes = [node]
    } else if let pod = options.pod {
      nodes = try await self.nodes(of: pod, options)
    } else {
      return agents
    }
    let chosen = agents.filter { nodes.contains($0.node) }
    let missing = nodes.subtracting(chosen.map(\.node)).sorted().map(Text.printable)
    guard missing.isEmpty else {
      throw Failure(
        message: "No agent runs on \(missing.joined(separator: ", ")). `weft check` says why; agents run on "
          + "\(agents.prefix(20).map { Text.printable($0.node) }.joined(separator: ", ")).", status: .unreachable)
    }
    return chosen
  }

  private func nodes(of text: String, _ options: GlobalOptions) async throws -> Set<String> {
    guard let reference = PodReference(text) else {
      throw Failure(
        message: "\"\(Text.printable(text))\" names no pod: give NAME, NAMESPACE/NAME or deploy/NAME.", status: .usage)
    }
    let namespace = reference.namespace ?? options.namespace ?? client.server.namespace
    let pods = try await list(namespace, "?limit=500").filter(reference.matches)
    guard !pods.isEmpty else {
      throw Failure(
        message: "There is no such pod in namespace \(Text.printable(namespace)): \(Text.printable(text)).",
        status: .usage)
    }
    let nodes = Set(pods.compactMap { $0["spec"]?["nodeName"]?.text })
    guard !nodes.isEmpty else {
      throw Failure(message: "\(Text.printable(text)) has no node yet, so no agent knows it.", status: .unhealthy)
    }
    return nodes
  }

  /// The answers of all, in the order of `agents`.
  func ask(_ agents: [Agent], _ path: String) async -> [NodeAnswer] {
    await Self.each(agents) { agent in
      let outcome: Result<Data, Failure>
      do throws(Failure) { outcome = .success(try await get(path, from: agent)) } catch { outcome = .failure(error) }
      return NodeAnswer(node: agent.node, outcome: outcome)
    }
  }

  /// Asks so many at a time; the answers in the order of what is asked.
  static func each<Asked: Sendable>(
    _ all: [Asked], _ ask: @escaping @Sendable (Asked) async -> NodeAnswer
  ) async -> [NodeAnswer] {
    await withTaskGroup(of: (Int, NodeAnswer).self) { group in
      var answers = [NodeAnswer?](repeating: nil, count: all.count)
      for (index, one) in all.enumerated() {
        if index >= parallel, let (done, answer) = await group.next() { answers[done] = answer }
        group.addTask { (index, await ask(one)) }
      }
      for await (done, answer) in group { answers[done] = answer }
      return answers.compactMap { $0 }
    }
  }

  private func get(_ path: String, from agent: Agent) async throws(Failure) -> Data {
    do {
      let outcome = try await client.exec(
        ["weft-agent", "admin", path], namespace: Self.namespace, pod: agent.pod, container: Self.container,
        seconds: patience)
      return try AgentExec.body(of: outcome, path)
    } catch let failure as Failure {
      throw failure
    } catch {
      throw AgentExec.failure(error as? ExecError ?? .broken("\(error)"), agent.pod)
    }
  }

  func list(_ namespace: String, _ query: String) async throws -> [JSONNode] {
    try await list(namespace, query) { $0 }
  }

  /// What is wanted of each pod of a namespace ("": of all), a page at a time.
  func list<Wanted>(
    _ namespace: String, _ query: String, _ wanted: (JSONNode) -> Wanted?
  ) async throws -> [Wanted] {
    var objects: [Wanted] = []
    var next = ""
    repeat {
      let path = Self.pods.path(namespace: namespace) + query + (next.isEmpty ? "" : "&continue=\(next)")
      let page: JSONNode
      do {
        page = try await client.document(path)
      } catch {
        throw AgentExec.failure(.api(error), "pods of namespace \(namespace)")
      }
      objects += (page["items"]?.elements ?? []).compactMap(wanted)
      next = page["metadata"]?["continue"]?.text ?? ""
    } while !next.isEmpty
    return objects
  }
}

/// What came of `weft-agent admin PATH` in an agent's container.
enum AgentExec {
  static func body(of outcome: ExecOutcome, _ path: String) throws(Failure) -> Data {
    let said = Text.printable(
      String(decoding: outcome.errors.prefix(500), as: UTF8.self).split(separator: "\n").first.map(String.init) ?? "")
    switch outcome.status {
    case 0: return Data(outcome.output)
    case 1:
      let reason = (try? JSONReader.read(outcome.output))?["error"]?.text
      throw Failure(
        message: "the agent answered \(path) with an error: \(Text.printable(reason ?? said))", status: .unhealthy)
    case 3: throw Failure(message: said.isEmpty ? "no agent answers in its pod" : said, status: .unreachable)
    // 64 is what a weft-agent of before this command says of it.
    default:
      throw Failure(
        message: "`weft-agent admin \(path)` ended with status \(outcome.status) in its pod: \(said). "
          + "Are weft and weft-agent of the same version? `weft version` shows both", status: .unhealthy)
    }
  }

  static func failure(_ error: ExecError, _ what: String) -> Failure {
    switch error {
    case .api(.refused(let status, let message)):
      return Failure(
        message: "\(Text.printable(what)): the API server refuses it (\(status)): \(Text.printable(message)). The role "
          + "weft-inspect allows it: kubectl create clusterrolebinding weft-inspect-ME --clusterrole=weft-inspect "
          + "--user=ME, and kubectl -n weft-system create rolebinding weft-inspect-ME --role=weft-inspect --user=ME",
        status: .unhealthy)
    case .api(.unreachable(let reason)):
      return Failure(message: "The API server isn't reachable: \(Text.printable(reason)).", status: .unreachable)
    default:
      return Failure(message: "\(Text.printable(what)): \(Text.printable(error.description))", status: .unreachable)
    }
  }
}
