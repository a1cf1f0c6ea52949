import Foundation
import KubernetesAPI
import MeshModel

/// The volumes of one pod on this machine: made before its first container, and kept true while it runs.
struct PodVolumes: Sendable {
  let context: KubeletContext
  let spec: PodSpec
  let addresses: [String]
  let node: LabState.Node
  /// By `volume/path`, tokens and when they are to be renewed (milliseconds).
  private(set) var tokens: [String: (token: String, renewAt: Int64)] = [:]

  /// Of a token's life, after which a new one is asked for.
  private static let renewAfter = 0.8

  init(context: KubeletContext, spec: PodSpec, addresses: [String], node: LabState.Node) {
    self.context = context
    self.spec = spec
    self.addresses = addresses
    self.node = node
  }

  var folder: String { "\(context.layout.podFolder(uid: spec.uid))/volumes" }

  /// When a token is due; nil: there is none.
  var renewAt: Int64? { tokens.values.map(\.renewAt).min() }

  /// Makes the volumes, or brings them up to date.
  /// - Throws: `LabError` naming the volume whose object is missing.
  mutating func write(_ pod: PodSpec, now: Int64) async throws {
    for volume in spec.volumes {
      do {
        try await write(volume, pod, now: now)
      } catch {
        throw LabError("volume \"\(volume.name)\": \(error)")
      }
    }
  }

  private mutating func write(_ volume: VolumeSpec, _ pod: PodSpec, now: Int64) async throws {
    let path = "\(folder)/\(volume.name)"
    let source = volume.source
    var files: VolumeContent.Files
    if let map = source["configMap"] {
      files = try objectFiles(map, nameKey: "name", isSecret: false)
    } else if let secret = source["secret"] {
      files = try objectFiles(secret, nameKey: "secretName", isSecret: true)
    } else if let downward = source["downwardAPI"] {
      files = downwardFiles(downward, pod, mode: mode(downward))
    } else if let projected = source["projected"] {
      files = [:]
      let mode = mode(projected)
      for part in projected["sources"]?.elements ?? [] {
        if let map = part["configMap"] {
          files.merge(try objectFiles(map, nameKey: "name", isSecret: false, mode: mode)) { $1 }
        } else if let secret = part["secret"] {
          files.merge(try objectFiles(secret, nameKey: "name", isSecret: true, mode: mode)) { $1 }
        } else if let downward = part["downwardAPI"] {
          files.merge(downwardFiles(downward, pod, mode: mode)) { $1 }
        } else if let token = part["serviceAccountToken"] {
          let name = token["path"]?.text ?? "token"
          let bytes = Array(try await self.token(token, key: "\(volume.name)/\(name)", now: now).utf8)
          // Readable for the pod's group, or its one user; where it has neither, as a kubelet does it, for all of its users.
          let mode: UInt32 = groupOwner != nil ? 0o640 : singleUser != nil ? 0o600 : 0o644
          files[name] = AtomicVolume.File(bytes: bytes, mode: mode)
        }
      }
    } else {
      try makeFolder(volume, path)
      return
    }
    let isProjected = source["projected"] != nil
    let owner = AtomicVolume.Owner(user: isProjected ? singleUser : nil, group: groupOwner)
    let content = files.mapValues { file in
      groupOwner == nil ? file : AtomicVolume.File(bytes: file.bytes, mode: file.mode | 0o040)
    }
    try await Blocking.run { try AtomicVolume.write(content, to: path, owner: owner) }
  }

  private func mode(_ source: JSONNode) -> mode_t {
    source["defaultMode"]?.integer.map { mode_t($0) } ?? VolumeContent.defaultMode
  }

  private func objectFiles(
    _ source: JSONNode, nameKey: String, isSecret: Bool, mode: mode_t? = nil
  ) throws -> VolumeContent.Files {
    let name = source[nameKey]?.text ?? ""
    let object = context.cache.object(
      isSecret ? .secrets : .configMaps, PodName(namespace: spec.id.namespace, name: name))
    return try VolumeContent.files(
      of: object?.content, isSecret: isSecret, source: source, name: name,
      mode: source["defaultMode"] == nil ? mode : nil)
  }

  private func downwardFiles(_ source: JSONNode, _ pod: PodSpec, mode: mode_t) -> VolumeContent.Files {
    var files: VolumeContent.Files = [:]
    for item in source["items"]?.elements ?? [] {
      guard let path = item["path"]?.text else { continue }
      let field = item["fieldRef"]?["fieldPath"]?.text ?? ""
      let text = VolumeContent.field(field, pod: pod, addresses: addresses, hostAddress: node.addresses[0]) ?? ""
      files[path] = AtomicVolume.File(bytes: Array(text.utf8), mode: item["mode"]?.integer.map { mode_t($0) } ?? mode)
    }
    return files
  }

  /// The group that volumes belong to: `fsGroup`.
  private var groupOwner: UInt32? { spec.security?["fsGroup"]?.integer.flatMap { UInt32(exactly: $0) } }

  /// The user of every container, where it is one and the same: a token is then that user's.
  private var singleUser: UInt32? {
    let users = Set(
      spec.allContainers.map { $0.security?["runAsUser"]?.integer ?? spec.security?["runAsUser"]?.integer ?? 0 })
    return users.count == 1 ? users.first.flatMap { UInt32(exactly: $0) } : nil
  }

  private func makeFolder(_ volume: VolumeSpec, _ path: String) throws {
    if volume.source["emptyDir"] != nil {
      guard !Files.exists(path) else { return }
      try Files.makeFolder(path)
      if let groupOwner { chown(path, 0, groupOwner) }
      // As kubelet makes it: anyone's, and the group's where there is one.
      chmod(path, groupOwner == nil ? 0o777 : 0o2777)
    } else if let host = volume.source["hostPath"] {
      let source = Self.hostPath(host["path"]?.text ?? "/", node: node, layout: context.layout)
      guard source.hasPrefix(context.layout.run), !Files.exists(source) else { return }
      if ["File", "FileOrCreate"].contains(host["type"]?.text ?? "") {
        if let slash = source.lastIndex(of: "/") { try Files.makeFolder(String(source[..<slash])) }
        close(open(source, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644))
      } else {
        try Files.makeFolder(source)
      }
    } else {
      throw LabError(
        "the lab has no volume of its kind; use emptyDir, hostPath, configMap, secret, projected, downwardAPI")
    }
  }

  /// Where a path of the simulated node is on this machine.
  static func hostPath(_ path: String, node: LabState.Node, layout: Layout) -> String {
    let clean = "/" + path.split(separator: "/").filter { $0 != "." && $0 != ".." }.joined(separator: "/")
    func below(_ folder: String) -> String? {
      clean == folder ? "" : clean.hasPrefix(folder + "/") ? String(clean.dropFirst(folder.count)) : nil
    }
    if let rest = below("/sys/fs/bpf") { return node.bpf + rest }
    if let rest = below("/sys/fs/cgroup") { return node.cgroup + rest }
    for machine in ["/proc", "/sys", "/dev"] where below(machine) != nil { return clean }
    return layout.nodeRoot(node.name) + (clean == "/" ? "" : clean)
  }

  /// Where a volume is on this machine.
  func source(of name: String) -> String? {
    guard let volume = spec.volumes.first(where: { $0.name == name }) else { return nil }
    guard let host = volume.source["hostPath"] else { return "\(folder)/\(name)" }
    return Self.hostPath(host["path"]?.text ?? "/", node: node, layout: context.layout)
  }

  // MARK: Tokens

  private mutating func token(_ source: JSONNode, key: String, now: Int64) async throws -> String {
    if let known = tokens[key], now < known.renewAt { return known.token }
    let seconds = source["expirationSeconds"]?.integer ?? 3600
    var members: [JSONNode.Member] = [
      .init(key: "expirationSeconds", value: .number(String(seconds))),
      .init(
        key: "boundObjectRef",
        value: ["apiVersion": "v1", "kind": "Pod", "name": .text(spec.id.name), "uid": .text(spec.uid)]),
    ]
    if let audience = source["audience"]?.text, !audience.isEmpty {
      members.append(.init(key: "audiences", value: [.text(audience)]))
    }
    let request: JSONNode = [
      "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": .object(members),
    ]
    do {
      let answer = try await context.client.create(
        request, as: .serviceAccounts, namespace: spec.id.namespace, name: spec.account, subresource: "token")
      guard let token = answer["status"]?["token"]?.text else { throw LabError("the API server's answer has no token") }
      let life = answer["spec"]?["expirationSeconds"]?.integer ?? seconds
      tokens[key] = (token, now + Int64(Double(life) * 1000 * Self.renewAfter))
      return token
    } catch {
      // The old one holds until its end.
      if let known = tokens[key] {
        tokens[key] = (known.token, now + 1000)
        return known.token
      }
      throw error
    }
  }
}
