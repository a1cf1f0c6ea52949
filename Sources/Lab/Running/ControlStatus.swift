import Foundation

/// The part of the control plane's `status.json` that the lab reads.
struct ControlStatus: Decodable {
  struct Object: Decodable, Equatable {
    var kind: String
    var namespace: String?
    var name: String
    var accepted: Bool
    var reason: String?
  }
  var objects: [Object]
  var generation: Int

  /// nil where there is none yet.
  static func read(_ layout: Layout) -> ControlStatus? {
    FileManager.default.contents(atPath: "\(layout.controlState)/status.json").flatMap {
      try? JSONDecoder().decode(ControlStatus.self, from: $0)
    }
  }

  func object(_ key: Manifest.Key) -> Object? {
    objects.first { $0.kind == key.kind && ($0.namespace ?? "") == key.namespace && $0.name == key.name }
  }
}

extension LabMaker {
  /// How long a change may take until the control plane has judged it.
  private static let judgementSeconds = 3.0

  /// Waits until the control plane has seen `keys`, if one runs.
  /// - Parameter before: what it said before they changed: of what is refused it says so, and its generation stays.
  /// - Returns: its reasons for those that it refused.
  func waitForControl(_ keys: [Manifest.Key], after before: ControlStatus?) -> [Manifest.Key: String] {
    guard !keys.isEmpty, state.control?.isRunning == true else { return [:] }
    var refusals: [Manifest.Key: String] = [:]
    _ = Waiting.poll(seconds: Self.judgementSeconds, uninterrupted: false) {
      guard let status = ControlStatus.read(layout) else { return false }
      refusals = [:]
      for key in keys {
        if let object = status.object(key), !object.accepted { refusals[key] = object.reason ?? "no reason given" }
      }
      let isNew = status.generation != before?.generation || keys.contains { status.object($0) != before?.object($0) }
      return isNew && keys.allSatisfy { status.object($0) != nil }
    }
    return refusals
  }

  /// Waits until the agent has let go of a pod's namespace, if it runs: its sockets keep the namespace alive.
  func waitForRelease(_ pod: LabState.Pod) throws {
    guard try state.node(pod.node).agent?.isRunning == true else { return }
    let client = AdminClient(socket: layout.agentSocket(pod.node))
    _ = try Waiting.poll(seconds: 5) {
      guard let answer = client.get("/v1/workloads", as: AgentWorkloads.self) else { return true }
      return answer.workloads.first { $0.uid == pod.id.description }.map { $0.state != "enrolled" } ?? true
    }
  }
}
