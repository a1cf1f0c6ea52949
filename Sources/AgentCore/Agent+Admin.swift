import Capture
import DiscoveryAPI
import Foundation
import Identity
import MeshModel

/// What the admin API tells.
extension Agent {
  func answer(_ path: String) async -> AdminAnswer {
    switch path {
    case "/healthz/ready":
      if link == nil { return .failure(503, "the proxy is not running") }
      // Neither from the control plane nor from disk: it can't serve a pod.
      return mesh.knowsEveryType
        ? AdminAnswer(status: 200, body: Data("{}".utf8)) : .failure(503, "the control plane hasn't told the mesh yet")
    case "/v1/status": return made(await statusDocument())
    case "/v1/workloads": return made(workloadsDocument(mesh.workloads.values))
    // Of a large mesh the rest is tens of megabytes.
    case "/v1/workloads/local":
      return made(workloadsDocument(mesh.workloads.values.filter { $0.node == configuration.node }))
    case "/v1/pods": return made(podsDocument())
    case "/v1/services": return made(servicesDocument())
    case "/v1/identities": return made(identitiesDocument())
    case "/v1/check": return made(AdminDocument.Checks(checks: await checks()))
    case "/v1/bpf":
      do { return made(try engine.inspect()) } catch { return .failure(500, "\(error)") }
    case "/v1/connections": return await proxyAnswer("connections")
    case "/v1/routes": return await proxyAnswer("routes")
    case "/v1/policies": return await proxyAnswer("policies")
    case "/v1/endpoints": return await proxyAnswer("endpoints")
    case "/v1/dump": return await dump()
    default:
      let service = "/v1/endpoints/"
      if path.hasPrefix(service) { return await endpoints(of: String(path.dropFirst(service.count))) }
      return .failure(404, "\(path.prefix(200)) is not known; see /v1/status")
    }
  }

  private func proxyAnswer(_ what: String, service: String = "") async -> AdminAnswer {
    guard let reply = await ask(what, service: service) else { return .failure(503, "the proxy doesn't answer") }
    return AdminAnswer(status: 200, body: reply)
  }

  private func endpoints(of name: String) async -> AdminAnswer {
    guard let key = ServiceKey(name) else {
      return .failure(400, "\(name.prefix(200)) is not the namespace/name of a Service")
    }
    guard mesh.services[key] != nil else {
      return .failure(404, "this node knows no Service \(key); `weft services` lists those that it knows")
    }
    return await proxyAnswer("endpoints", service: key.description)
  }

  private func made(_ document: some Encodable) -> AdminAnswer {
    AdminDocument.encode(document).map { AdminAnswer(status: 200, body: $0) } ?? .failure(500, "can't be encoded")
  }

  private func statusDocument() async -> AdminDocument.Status {
    let status = client?.status
    let phases = pods.values.map(\.lifecycle.name)
    let traffic = await ask("statistics").flatMap { AdminDocument.Status.Traffic($0) }
    return AdminDocument.Status(
      node: configuration.node, version: AgentVersion.text, startedAt: started,
      proxy: .init(
        pid: await supervisor.pid, state: await supervisor.state.rawValue, restarts: await supervisor.restarts,
        traffic: traffic),
      control: .init(
        address: configuration.control.description, connected: status?.connected ?? false,
        lastError: status?.lastError ?? problems["join"], since: status?.since ?? started),
      snapshot: .init(
        versions: [
          Weft_Mesh_V1_Workload.typeURL: mesh.workloads.count, Weft_Mesh_V1_Service.typeURL: mesh.services.count,
          Weft_Mesh_V1_MeshConfig.typeURL: mesh.knowsWorkloads ? 1 : 0,
          Weft_Mesh_V1_Route.typeURL: mesh.routes.count, Weft_Mesh_V1_TrafficPolicy.typeURL: mesh.policies.count,
        ],
        restored: isRestored && status?.connected != true,
        rejected: rejected.map { .init(type: $0.typeURL, name: $0.name, reason: $0.reason) }),
      pods: .init(
        enrolled: phases.count { $0 == "enrolled" }, pending: phases.count { $0 == "pending" },
        failed: phases.count { $0 == "failed" }, stubs: stubDocuments()),
      config: .init(mutualTls: "\(mesh.config.mutualTLS)", trustDomain: mesh.config.trustDomain.name))
  }

  private func stubDocuments() -> [AdminDocument.Status.Stub] {
    mesh.localPods.filter { $0.isMeshed && $0.mode != .node }.sorted { $0.id < $1.id }
      .map { .init(uid: $0.id, mode: $0.mode.name, reason: reason(of: $0)) }
  }

  private func workloadsDocument(_ workloads: some Sequence<Workload>) -> AdminDocument.Workloads {
    let entries = workloads.sorted { $0.id < $1.id }.map { workload in
      let pod = pods[workload.id]
      let isLocal = workload.node == configuration.node
      return AdminDocument.Workloads.Entry(
        uid: workload.id, namespace: workload.namespace, name: workload.name, serviceAccount: workload.serviceAccount,
        node: workload.node, addresses: workload.addresses.map(\.description), meshed: workload.isMeshed,
        ready: workload.isReady, local: isLocal,
        state: state(of: workload), reason: reason(of: workload),
        identity: workload.isMeshed ? mesh.identity(of: workload)?.description ?? "" : "",
        mode: workload.isMeshed ? workload.mode.name : "",
        found: pod.map { $0.sandbox.open == nil ? "file" : "cgroup" } ?? "",
        podUid: workload.podUID,
        enrolmentMs: pod.flatMap { $0.enrolledAt > 0 ? Double($0.enrolledAt - $0.foundAt) / 1e6 : nil })
    }
    return AdminDocument.Workloads(workloads: entries)
  }

  private func state(of workload: Workload) -> String {
    guard workload.isMeshed else { return "unmeshed" }
    guard workload.node == configuration.node else { return "remote" }
    return workload.mode == .stubTunnel ? "tunnel" : pods[workload.id]?.lifecycle.name ?? "pending"
  }

  /// Why a pod of this node is in its state, and who carries it.
  func reason(of workload: Workload) -> String {
    guard workload.node == configuration.node else { return "" }
    if workload.usesHostNetwork { return "it uses its node's network, which is never captured" }
    guard workload.isMeshed else { return "" }
    let pod = pods[workload.id]
    switch workload.mode {
    case .stubTunnel: return "its own stub carries it, not this node: weft.dev/injected is tunnel"
    case .stubHandoff where pod?.lifecycle.phase == .enrolled:
      return stubs[workload.id] == nil
        ? "its stub is away: what it has opened goes on" : "its stub opens its sockets: weft.dev/injected is handoff"
    case .stubHandoff where pod == nil: return "neither its sandbox nor its stub is there yet"
    case .node where pod == nil && !configuration.hold.entersPods: return HoldPolicy.mayNotEnter
    case _ where pod?.lifecycle.phase == .awaitingIdentity:
      let error = mesh.identity(of: workload).flatMap { identities.entries[$0]?.schedule.lastError }
      return ["waits for its certificate", error].compactMap { $0 }.joined(separator: ": ")
    case .node, .stubHandoff: return pod?.lifecycle.reason ?? "its sandbox isn't there yet"
    }
  }

  private func podsDocument() -> AdminDocument.CgroupPods {
    let entries = cgroupPods.pods.values.sorted { $0.folder.uid < $1.folder.uid }.map { pod in
      AdminDocument.CgroupPods.Entry(
        podUid: pod.folder.uid, cgroup: pod.folder.path,
        workload: pod.shown ?? mesh.workload(podUID: pod.folder.uid)?.id ?? "",
        verdict: pod.verdict == .passes || pod.verdict == .enrolled ? "passes" : "held", reason: pod.reason,
        hasSandbox: pod.sandbox != nil,
        addresses: pod.sandbox?.addresses.map(\.description) ?? [])
    }
    return AdminDocument.CgroupPods(pods: entries)
  }

  private func servicesDocument() -> AdminDocument.Services {
    var endpoints: [ServiceKey: [AdminDocument.Services.Endpoint]] = [:]
    for workload in mesh.workloads.values.sorted(by: { $0.id < $1.id }) {
      for membership in workload.memberships {
        let ports = membership.ports.map { ("\($0.servicePort)", $0.targetPort) }
        endpoints[membership.service, default: []].append(
          .init(
            workload: workload.id, address: workload.addresses.first?.description ?? "",
            ports: Dictionary(ports) { first, _ in first }, ready: workload.isReady, node: workload.node))
      }
    }
    let entries = mesh.services.values.sorted { $0.key.description < $1.key.description }.map { service in
      AdminDocument.Services.Entry(
        namespace: service.key.namespace, name: service.key.name, addresses: service.addresses.map(\.description),
        ports: service.ports.map { .init(port: $0.port, name: $0.name, transport: "\($0.transport)") },
        endpoints: endpoints[service.key] ?? [])
    }
    return AdminDocument.Services(services: entries)
  }

  private func identitiesDocument() -> AdminDocument.Identities {
    let now = Date()
    func entry(_ id: String, _ held: HeldIdentity?, _ schedule: RotationSchedule) -> AdminDocument.Identities.Entry {
      .init(
        spiffeId: id, serial: held?.certificate.serial ?? "", notBefore: held?.certificate.notBefore,
        notAfter: held?.certificate.notAfter, renewAt: schedule.nextAttempt,
        state: schedule.state(now: now).rawValue, error: schedule.lastError)
    }
    var entries = identities.entries.sorted { $0.key.description < $1.key.description }
      .map { entry($0.key.description, $0.value.held, $0.value.schedule) }
    entries.append(entry(nodeID.description, nodeIdentity, nodeSchedule))
    return AdminDocument.Identities(
      identities: entries,
      trustBundle: trustBundle.descriptions.map { .init(subject: $0.subject, notAfter: $0.notAfter) })
  }

  /// Seconds.
  private static let clockTolerance = 30
  /// Seconds.
  private static let signerNotice: TimeInterval = 14 * 86400

  private func checks() async -> [CaptureCheck] {
    var checks = CaptureEngine.check(
      cgroupRoot: configuration.cgroupRoot, bpffs: configuration.bpffsDirectory, objectPath: configuration.bpfObject)
    func add(_ name: String, _ problem: String?, _ detail: String, _ repair: String) {
      checks.append(CaptureCheck(name, ok: problem == nil, detail: problem ?? detail, repair: repair))
    }
    add(
      "proxy", link == nil ? "not running" : nil, "running, \(await supervisor.restarts) restarts",
      "see the agent's log for why it ended")
    let status = client?.status
    add(
      "control plane",
      status?.connected == true ? nil : "not connected: \(status?.lastError ?? problems["join"] ?? "not joined yet")",
      "connected to \(configuration.control)",
      "start weft-control, or see that \(configuration.control) can be reached from this node")
    if let lag = status?.clockLag {
      let seconds = Int(abs(lag).rounded())
      let problem = "this node's clock is \(seconds) s \(lag > 0 ? "behind" : "ahead of") the control plane's"
      add(
        "clock", seconds > Self.clockTolerance ? problem : nil,
        "within \(Self.clockTolerance) s of the control plane's",
        "set it: `timedatectl set-ntp true` or `chronyc makestep`; certificates bear up to an hour")
    }
    let now = Date()
    let bad = identities.entries.filter { ![.valid, .renewing].contains($0.value.schedule.state(now: now)) }
    add(
      "certificates",
      bad.isEmpty ? nil : "none valid for \(bad.keys.map(\.description).sorted().joined(separator: ", "))",
      "\(identities.entries.count) valid", "see `weft identity` for the CA's last answer")
    if let end = nodeIdentity?.certificate.signerNotAfter {
      let isNear = end < now.addingTimeInterval(Self.signerNotice)
      add(
        "signing CA", isNear ? "the intermediate that signs ends at \(end.formatted(.iso8601))" : nil,
        "until \(end.formatted(.iso8601))", "exchange ca.key and ca.pem of the Secret weft-ca")
    }
    let failed = pods.filter { $0.value.lifecycle.name == "failed" }
    add(
      "pods",
      failed.isEmpty ? nil : failed.map { "\($0.key): \($0.value.lifecycle.reason)" }.sorted().joined(separator: "; "),
      "\(pods.count) found, \(pods.values.count { $0.lifecycle.name == "enrolled" }) enrolled",
      "see the reason; enrolment is tried again by itself")
    // One that is over, and whose cgroup lingers, lacks nothing.
    let held = cgroupPods.pods.values.filter {
      $0.verdict == .held && mesh.workload(podUID: $0.folder.uid) == nil && !($0.wasMeshed && $0.sandbox == nil)
    }
    if !held.isEmpty {
      add(
        "held pods", held.map { "\($0.folder.uid): \($0.reason)" }.sorted().prefix(10).joined(separator: "; "), "",
        "see that weft-control runs and can be reached; what isn't meshed passes in --hold-unknown seconds")
    }
    if !podProblems.isEmpty {
      add("pod files", podProblems.values.sorted().prefix(10).joined(separator: "; "), "", "correct or remove the file")
    }
    add(
      "configuration",
      rejected.isEmpty
        ? nil : rejected.prefix(10).map { "\($0.name): \($0.reason)" }.joined(separator: "; "),
      "every resource accepted", "correct the object; the last good version stays in force")
    for (what, problem) in problems.sorted(by: { $0.key < $1.key }) where what != "join" {
      add(what, problem, "", "see the agent's log")
    }
    return checks
  }

  /// Everything in one object; never a key.
  private func dump() async -> AdminAnswer {
    var parts: [String] = []
    func add(_ name: String, _ json: Data?) {
      if let json { parts.append("\"\(name)\":" + String(decoding: json, as: UTF8.self)) }
    }
    add("status", AdminDocument.encode(await statusDocument()))
    add("workloads", AdminDocument.encode(workloadsDocument(mesh.workloads.values)))
    add("pods", AdminDocument.encode(podsDocument()))
    add("services", AdminDocument.encode(servicesDocument()))
    add("identities", AdminDocument.encode(identitiesDocument()))
    add("check", AdminDocument.encode(AdminDocument.Checks(checks: await checks())))
    add("bpf", (try? engine.inspect()).flatMap { AdminDocument.encode($0) })
    add("proxy", await ask("dump"))
    return AdminAnswer(status: 200, body: Data("{\(parts.joined(separator: ","))}".utf8))
  }
}

extension Workload.Mode {
  /// In the admin API.
  var name: String {
    switch self {
    case .node: "node"
    case .stubHandoff: "handoff"
    case .stubTunnel: "tunnel"
    }
  }
}

/// This program's version.
public enum AgentVersion {
  public static let text = WeftVersion.current
}
