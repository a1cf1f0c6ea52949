import Glibc
import MeshModel

/// The namespaces of pods by the kubelet's log folders, `NAMESPACE_NAME_UID`, which are there before a pod's sandbox.
struct PodLogNames: Sendable {
  /// Folders that are looked at.
  static let bound = 10_000

  let directory: String

  /// By UID; empty where the folder can't be read.
  func namespaces(of uids: Set<String>) -> [String: String] {
    guard !uids.isEmpty, let folder = opendir(directory) else { return [:] }
    defer { closedir(folder) }
    var (found, count): ([String: String], Int) = ([:], 0)
    while let entry = readdir(folder), count < Self.bound {
      count += 1
      let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if let (namespace, uid) = Self.parse(name), uids.contains(uid) { found[uid] = namespace }
    }
    return found
  }

  static func parse(_ name: String) -> (namespace: String, uid: String)? {
    let parts = name.split(separator: "_", omittingEmptySubsequences: false)
    guard parts.count == 3, DNSName.isLabel(String(parts[0])), !parts[2].isEmpty else { return nil }
    return (String(parts[0]), String(parts[2]))
  }
}
