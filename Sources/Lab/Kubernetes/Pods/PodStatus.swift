import Foundation
import KubernetesAPI

/// A Pod's status as the kubelet reports it. Pure.
struct PodStatus {
  let lifecycle: PodLifecycle
  let pod: PodSpec
  /// Empty while there is none.
  let addresses: [String]
  let hostAddress: String

  var phase: String {
    let main = lifecycle.containers.filter { !$0.isInit }
    if !lifecycle.isInitialized {
      let hasFailed = lifecycle.containers.contains { container in
        guard container.isInit, case .ended(let end) = container.state else { return false }
        return !end.isSuccess
      }
      return hasFailed && lifecycle.restartPolicy == .never ? "Failed" : "Pending"
    }
    let ends = main.compactMap { container -> PodLifecycle.Ended? in
      if case .ended(let end) = container.state { end } else { nil }
    }
    if ends.count == main.count, lifecycle.restartPolicy != .always || lifecycle.isDeleted {
      return ends.allSatisfy(\.isSuccess) ? "Succeeded" : "Failed"
    }
    let hasRun = main.allSatisfy { container in
      if case .waiting = container.state { container.last != nil } else { true }
    }
    return hasRun ? "Running" : "Pending"
  }

  /// For a merge patch of the subresource `status`.
  /// - Parameter transitions: since when each condition is what it is; kept up to date here.
  func node(_ transitions: inout [String: (status: Bool, since: Int64)], now: Int64) -> JSONNode {
    let main = lifecycle.containers.filter { !$0.isInit }
    let phase = phase
    let isOver = phase == "Succeeded" || phase == "Failed"
    let areReady = !isOver && !main.isEmpty && main.allSatisfy(\.isReady)
    let gates = pod.readinessGates.allSatisfy { gate in
      pod.foreignConditions.contains { $0["type"]?.text == gate && $0["status"]?.text == "True" }
    }
    let unready = main.filter { !$0.isReady }.map(\.plan.name).joined(separator: " ")
    var conditions = pod.foreignConditions
    for (type, isTrue) in [
      ("Initialized", lifecycle.isInitialized), ("Ready", areReady && gates), ("ContainersReady", areReady),
    ] {
      if transitions[type]?.status != isTrue { transitions[type] = (isTrue, now) }
      var condition: [JSONNode.Member] = [
        .init(key: "type", value: .text(type)), .init(key: "status", value: isTrue ? "True" : "False"),
        .init(key: "lastProbeTime", value: .null),
        .init(key: "lastTransitionTime", value: .text(Self.time(transitions[type]?.since ?? now))),
      ]
      if !isTrue {
        let reason = isOver ? "PodCompleted" : type == "Initialized" ? "ContainersNotInitialized" : "ContainersNotReady"
        condition.append(.init(key: "reason", value: .text(reason)))
        if !isOver {
          condition.append(.init(key: "message", value: .text("containers with unready status: [\(unready)]")))
        }
      }
      conditions.append(.object(condition))
    }
    var members: [JSONNode.Member] = [
      .init(key: "phase", value: .text(phase)), .init(key: "conditions", value: .array(conditions)),
      .init(key: "hostIP", value: .text(hostAddress)),
      .init(key: "startTime", value: .text(Self.time(lifecycle.startTime))),
      .init(key: "containerStatuses", value: .array(main.map(container))),
    ]
    if case .failed(_, let message) = lifecycle.sandbox {
      members.append(.init(key: "message", value: .text(message)))
    }
    let first = lifecycle.containers.filter(\.isInit)
    if !first.isEmpty { members.append(.init(key: "initContainerStatuses", value: .array(first.map(container)))) }
    if let address = addresses.first {
      members.append(.init(key: "podIP", value: .text(address)))
      members.append(.init(key: "podIPs", value: .array(addresses.map { ["ip": .text($0)] })))
    }
    return .object(members)
  }

  private func container(_ container: PodLifecycle.Container) -> JSONNode {
    let spec = pod.allContainers.first { $0.name == container.plan.name }
    var members: [JSONNode.Member] = [
      .init(key: "name", value: .text(container.plan.name)), .init(key: "image", value: .text(spec?.image ?? "")),
      .init(key: "imageID", value: container.id.isEmpty ? "" : .text("lab://\(spec?.image ?? "")")),
      .init(key: "ready", value: .truth(container.isReady)),
      .init(key: "restartCount", value: .number(String(container.restarts))),
      .init(key: "state", value: Self.state(container.state)),
    ]
    if !container.isInit { members.append(.init(key: "started", value: .truth(container.isStarted))) }
    if !container.id.isEmpty { members.append(.init(key: "containerID", value: .text("containerd://\(container.id)"))) }
    if let last = container.last { members.append(.init(key: "lastState", value: Self.state(.ended(last)))) }
    return .object(members)
  }

  private static func state(_ state: PodLifecycle.ContainerState) -> JSONNode {
    switch state {
    case .waiting(let reason, let message):
      return [
        "waiting": message.isEmpty ? ["reason": .text(reason)] : ["reason": .text(reason), "message": .text(message)]
      ]
    case .running(let since): return ["running": ["startedAt": .text(time(since))]]
    case .ended(let end):
      var members: [JSONNode.Member] = [
        // What a shell would show, as container runtimes do.
        .init(key: "exitCode", value: .number(String(end.signal == 0 ? end.code : 128 + end.signal))),
        .init(key: "reason", value: .text(end.reason)), .init(key: "startedAt", value: .text(time(end.started))),
        .init(key: "finishedAt", value: .text(time(end.finished))),
        .init(key: "containerID", value: .text("containerd://\(end.id)")),
      ]
      if !end.message.isEmpty { members.append(.init(key: "message", value: .text(end.message))) }
      return ["terminated": .object(members)]
    }
  }

  /// RFC 3339 in UTC, whole seconds, as Kubernetes writes times.
  static func time(_ milliseconds: Int64) -> String {
    var seconds = time_t(milliseconds / 1000)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : String(number) }
    return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
      + "T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
  }
}
