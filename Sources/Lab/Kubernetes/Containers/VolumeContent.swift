import Foundation
import KubernetesAPI

/// The files of a volume that shows objects. Pure.
enum VolumeContent {
  typealias Files = [String: AtomicVolume.File]

  static let defaultMode: mode_t = 0o644

  /// Of a ConfigMap or a Secret.
  /// - Parameters:
  ///   - object: nil where there is none.
  ///   - source: with `items`, `optional`, `defaultMode`.
  /// - Throws: `LabError` where it, or an item of it, is missing and not optional.
  static func files(
    of object: JSONNode?, isSecret: Bool, source: JSONNode, name: String, mode: mode_t? = nil
  ) throws -> Files {
    let kind = isSecret ? "secret" : "configmap"
    let isOptional = source["optional"]?.isTrue == true
    guard let object else {
      guard isOptional else { throw LabError("\(kind) \"\(name)\" not found") }
      return [:]
    }
    let mode = mode ?? source["defaultMode"]?.integer.map { mode_t($0) } ?? defaultMode
    let values = try values(object, isSecret: isSecret, name: name)
    guard let items = source["items"]?.elements, !items.isEmpty else {
      return values.mapValues { AtomicVolume.File(bytes: $0, mode: mode) }
    }
    var files: Files = [:]
    for item in items {
      let key = item["key"]?.text ?? ""
      guard let bytes = values[key] else {
        guard isOptional else { throw LabError("\(kind) \"\(name)\" has no key \"\(key)\"") }
        continue
      }
      let itemMode = item["mode"]?.integer.map { mode_t($0) } ?? mode
      files[item["path"]?.text ?? key] = AtomicVolume.File(bytes: bytes, mode: itemMode)
    }
    return files
  }

  /// What a ConfigMap or a Secret holds, by key.
  static func values(_ object: JSONNode, isSecret: Bool, name: String) throws -> [String: [UInt8]] {
    var values: [String: [UInt8]] = [:]
    let encoded = isSecret ? object["data"] : object["binaryData"]
    for (key, text) in encoded?.texts ?? [:] {
      guard let data = Data(base64Encoded: text) else { throw LabError("\"\(name)\": \(key) isn't base64") }
      values[key] = Array(data)
    }
    if !isSecret { for (key, text) in object["data"]?.texts ?? [:] { values[key] = Array(text.utf8) } }
    return values
  }

  /// A field of the downward API, as a variable or a file shows it.
  /// - Returns: nil where it isn't known.
  static func field(_ path: String, pod: PodSpec, addresses: [String], hostAddress: String) -> String? {
    switch path {
    case "metadata.name": return pod.id.name
    case "metadata.namespace": return pod.id.namespace
    case "metadata.uid": return pod.uid
    case "metadata.labels": return listed(pod.labels)
    case "metadata.annotations": return listed(pod.annotations)
    case "spec.nodeName": return pod.node
    case "spec.serviceAccountName": return pod.account
    case "status.podIP": return addresses.first ?? ""
    case "status.podIPs": return addresses.joined(separator: ",")
    case "status.hostIP": return hostAddress
    default: break
    }
    for (prefix, values) in [("metadata.labels['", pod.labels), ("metadata.annotations['", pod.annotations)]
    where path.hasPrefix(prefix) && path.hasSuffix("']") {
      return values[String(path.dropFirst(prefix.count).dropLast(2))] ?? ""
    }
    return nil
  }

  private static func listed(_ values: [String: String]) -> String {
    values.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value.debugDescription)" }.joined(separator: "\n")
  }
}
