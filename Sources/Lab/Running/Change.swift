import CLinux
import Foundation

/// One thing that `apply` or `delete` did.
public struct Change: Sendable, CustomStringConvertible {
  public enum Verb: String, Sendable { case created, replaced, unchanged, deleted }

  public var object: String
  public var verb: Verb
  /// Why the control plane refused it; nil where it took it, or none runs.
  public var refusal: String?

  public var description: String {
    "\(object) \(verb.rawValue)" + (refusal.map { ", but refused by the control plane: \($0)" } ?? "")
  }
}

extension Lab {
  /// Creates or replaces the objects of `files` in a running lab. A Pod whose spec changed is ended and made anew
  /// at the same addresses.
  /// - Throws: `LabError`; for bad input before anything is changed.
  public static func apply(_ name: LabName, files: [String], progress: Progress) throws -> [Change] {
    let new = try files.flatMap {
      Files.isFolder($0) ? try ManifestFiles.readDirectory($0) : try ManifestFiles.readFile($0)
    }
    return try change(name, progress: progress) { maker in
      try maker.apply(new)
    }
  }

  /// Deletes one object.
  /// - Parameter reference: `KIND/NAME`, the kind in any case.
  public static func delete(
    _ name: LabName, reference: String, namespace: String?, progress: Progress
  ) throws -> [Change] {
    try change(name, progress: progress) { maker in
      let key = try maker.find(reference, namespace: namespace)
      try maker.delete(key)
      return [Change(object: key.description, verb: .deleted, refusal: nil)]
    }
  }

  /// Runs `body` on a ready lab, under its lock.
  static func change<T>(_ name: LabName, progress: Progress, _ body: (inout LabMaker) throws -> T) throws -> T {
    try LabMaker.checkMachine()
    weft_lab_remember_interrupts()
    let layout = try layout(name)
    _ = try LabState.load(layout)
    return try withExtendedLifetime(try LabLock(layout)) {
      let state = try LabState.load(layout)
      guard state.cluster == nil else {
        throw LabError("the API server keeps the objects of lab \"\(name)\": weft-lab kubectl --name \(name) -- …")
      }
      guard state.isReady else {
        throw LabError(
          "lab \"\(name)\" was never finished; make it again: weft-lab up \(state.directory) --name \(name)")
      }
      let input = try LabInput(
        directory: state.directory, manifests: ManifestFiles.readDirectory(layout.config), checksCommands: false)
      var maker = LabMaker(layout: layout, progress: progress, state: state, input: input)
      let result = try body(&maker)
      progress.end()
      return result
    }
  }
}

extension LabMaker {
  fileprivate mutating func apply(_ new: [Manifest]) throws -> [Change] {
    let before = input
    // Checked by itself for duplicates, then together with what is there.
    var merged = before.manifests
    var seen: Set<Manifest.Key> = []
    for manifest in new {
      guard seen.insert(manifest.key).inserted else {
        throw manifest.root["metadata"]["name"].error("\(manifest.key) stands twice in what is applied")
      }
      merged[manifest.key] = keepingAddresses(manifest, from: before.manifests[manifest.key])
    }
    input = try LabInput(directory: state.directory, manifests: Array(merged.values))
    let services = resolveServices()
    let verbs = new.map { manifest -> Change.Verb in
      guard let old = before.manifests[manifest.key], let object = input.manifests[manifest.key] else {
        return .created
      }
      let isSame = rendered(object, services: services).rendered() == rendered(old, services: services).rendered()
      return isSame ? .unchanged : .replaced
    }
    let changed = zip(new, verbs).filter { $0.1 != .unchanged }.map(\.0.key)
    let status = ControlStatus.read(layout)
    do {
      try applyPods(changed, before: before)
    } catch {
      undo(changed, before: before)
      throw error
    }
    let refusals = waitForControl(changed, after: status)
    return zip(new, verbs).map { manifest, verb in
      Change(object: manifest.key.description, verb: verb, refusal: refusals[manifest.key])
    }
  }

  /// Writes the configuration, and makes nodes and pods: those that are new, and anew those whose spec changed.
  private mutating func applyPods(_ changed: [Manifest.Key], before: LabInput) throws {
    for key in changed where key.kind == "Pod" {
      guard let old = before.manifests[key]?.object["spec"] else { continue }
      if old.rendered() != input.manifests[key]?.object["spec"]?.rendered() { try removePod(PodName(key)) }
    }
    let knownNodes = Set(state.nodes.map(\.name))
    let knownPods = Set(state.pods.map(\.id))
    plan()
    for index in state.pods.indices {
      if let pod = input.pods[Manifest.Key(state.pods[index].id)] { state.pods[index].isMeshed = input.isMeshed(pod) }
    }
    try save()
    let newNodes = state.nodes.filter { !knownNodes.contains($0.name) }
    let newPods = state.pods.filter { !knownPods.contains($0.id) }
    try makeNodes(newNodes)
    try makeNetwork(of: newPods)
    try makeFolders(of: newPods)
    try writeConfiguration(changed)
    for pod in newPods { try announce(pod) }
    if state.control?.isRunning == true {
      for node in newNodes { try startAgent(node.name) }
      try waitForAgents(newNodes.map(\.name))
      let running = Set(state.nodes.filter { $0.agent?.isRunning == true }.map(\.name))
      try waitForEnrolment(newPods.filter { $0.isMeshed && running.contains($0.node) })
    }
    try startContainers(of: newPods.map(\.id))
  }

  /// After a failure: new objects go, replaced ones become what they were, but for pods, which are ended.
  private mutating func undo(_ changed: [Manifest.Key], before: LabInput) {
    for key in changed where key.kind == "Pod" && state.pods.contains(where: { $0.id == PodName(key) }) {
      guard
        before.manifests[key] == nil || state.pods.first(where: { $0.id == PodName(key) })?.containers.isEmpty == true
      else { continue }
      // The failure that led here is the one to report.
      try? removePod(PodName(key))
      try? removeConfiguration(key)
    }
    for key in changed where before.manifests[key] == nil {
      if key.kind == "Node", state.nodes.contains(where: { $0.name == key.name }) { try? removeNode(key.name) }
      try? removeConfiguration(key)
    }
    input = before
    try? writeConfiguration(
      changed.filter { key in
        before.manifests[key] != nil && (key.kind != "Pod" || state.pods.contains { $0.id == PodName(key) })
      })
    try? save()
  }

  /// A Service that is applied again without an address keeps the one that it was given.
  private func keepingAddresses(_ manifest: Manifest, from old: Manifest?) -> Manifest {
    guard manifest.key.kind == "Service", let spec = old?.object["spec"], let address = spec["clusterIP"],
      manifest.object["spec"]?["clusterIP"] == nil, manifest.object["spec"]?["clusterIPs"] == nil
    else { return manifest }
    var object = manifest.object
    object["spec"]?["clusterIP"] = address
    object["spec"]?["clusterIPs"] = spec["clusterIPs"]
    return Manifest(key: manifest.key, object: object, file: manifest.file)
  }

  // MARK: Deleting

  fileprivate func find(_ reference: String, namespace: String?) throws -> Manifest.Key {
    let parts = reference.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2 else { throw LabError("\"\(reference)\": expected KIND/NAME, as in pod/front") }
    let found = input.manifests.keys.filter { key in
      key.kind.lowercased() == parts[0].lowercased() && key.name == parts[1]
        && (namespace == nil || key.namespace == namespace)
    }
    guard let key = found.first else {
      throw LabError(
        "there is no \(reference)" + (namespace.map { " in namespace \($0)" } ?? "") + " in lab \(layout.name)")
    }
    guard found.count == 1 else {
      throw LabError(
        "\(reference) is there in namespaces \(found.map(\.namespace).sorted().joined(separator: ", ")); say -n")
    }
    return key
  }

  fileprivate mutating func delete(_ key: Manifest.Key) throws {
    switch key.kind {
    case "Pod": try removePod(PodName(key))
    case "Node":
      let pods = state.pods.filter { $0.node == key.name }
      guard pods.isEmpty else {
        throw LabError("node \(key.name) still has pods: \(pods.map(\.id.description).joined(separator: ", "))")
      }
      try removeNode(key.name)
    case "Namespace":
      let rest = input.manifests.keys.filter { $0.namespace == key.name }
      guard rest.isEmpty else {
        throw LabError("namespace \(key.name) still holds \(rest.sorted().map(\.description).joined(separator: ", "))")
      }
    default: break
    }
    let before = ControlStatus.read(layout)
    try removeConfiguration(key)
    guard state.control?.isRunning == true, let before else { return }
    // What was refused goes without a new generation.
    _ = Waiting.poll(seconds: 2, uninterrupted: false) {
      guard let status = ControlStatus.read(layout) else { return false }
      return status.generation != before.generation || status.object(key) != before.object(key)
    }
  }

  private mutating func removePod(_ id: PodName) throws {
    guard let pod = state.pods.first(where: { $0.id == id }) else { return }
    // The processes first: while the agent releases the pod nothing leaves it.
    try Cgroup.killAll(pod.cgroup)
    try withdraw(pod)
    try waitForRelease(pod)
    try NetworkNamespace.remove(pod.networkNamespace)
    let device = "v\(pod.index)"
    let node = try state.node(pod.node)
    // The namespace's end takes the link away too, but later than its name may be needed again.
    _ = try? Tool.run("ip", ["-n", node.networkNamespace, "link", "del", device])
    try Cgroup.remove(pod.cgroup)
    try Files.removeTree(layout.podFolder(id))
    state.pods.removeAll { $0.id == id }
    try save()
  }

  private mutating func removeNode(_ name: String) throws {
    let node = try state.node(name)
    try Cgroup.killAll(node.cgroup)
    try Files.removeTree(node.bpf)
    try NetworkNamespace.remove(node.networkNamespace)
    _ = try? Tool.run("ip", ["-n", layout.linkNamespace, "link", "del", "n\(node.index)"])
    try Cgroup.remove(node.cgroup)
    try Files.removeTree(layout.node(name))
    state.nodes.removeAll { $0.name == name }
    try save()
  }
}
