import KubernetesAPI

/// The last good versions of those objects of an API server whose newest version is refused, as texts that are kept where
/// every replica reads them: one that starts later has the same in force as those that have seen them. (Gateway API,
/// `RouteConditionPartiallyInvalid`: who reverts to a last known good state needs a means of restoring it after a restart.)
/// Pure.
struct LastGood: Sendable {
  static let maximumObjects = 256
  /// Bytes of one object, and of all.
  static let maximumText = 32 << 10
  static let maximumWhole = 512 << 10
  /// Of all good versions that this replica holds to keep one: beyond it what is new isn't held.
  static let maximumHeld = 64 << 20

  private struct Version: Sendable {
    var uid: String
    var text: String
  }

  /// Of each object its newest good version, by its name in the registry.
  private var good: [String: Version] = [:]
  private var heldBytes = 0
  /// The UIDs of those whose newest version is refused.
  private(set) var refused: [String: String] = [:]
  /// What all replicas read, by UID.
  private var kept: [String: String] = [:]

  mutating func note(_ object: KubernetesObject, _ name: String, isRefused: Bool) {
    let uid = object.content["metadata"]?["uid"]?.text ?? ""
    refused[name] = isRefused ? uid : nil
    guard !isRefused else { return }
    let bytes = object.content.bytes
    let fits = bytes.count <= Self.maximumText && heldBytes + bytes.count <= Self.maximumHeld
    hold(fits ? Version(uid: uid, text: String(decoding: bytes, as: UTF8.self)) : nil, name)
  }

  mutating func forget(_ name: String) {
    refused[name] = nil
    hold(nil, name)
  }

  private mutating func hold(_ version: Version?, _ name: String) {
    heldBytes += (version?.text.utf8.count ?? 0) - (good[name]?.text.utf8.count ?? 0)
    good[name] = version
  }

  /// Takes what is kept, by UID.
  mutating func read(_ texts: [String: String]) { kept = texts }

  /// What is kept of a refused object that this replica has never seen good; nil: nothing of the same object.
  mutating func restore(_ name: String) -> KubernetesObject? {
    guard let uid = refused[name],
      let text = good[name].flatMap({ $0.uid == uid ? $0.text : nil }) ?? kept[uid],
      text.utf8.count <= Self.maximumText,
      let content = try? JSONReader.read(Array(text.utf8)), content["metadata"]?["uid"]?.text == uid,
      let object = try? KubernetesObject(content)
    else { return nil }
    hold(Version(uid: uid, text: text), name)
    return object
  }

  /// What is to be kept, by UID: in the order of names as far as the bounds go.
  var wanted: [String: String] {
    var texts: [String: String] = [:]
    var bytes = 0
    for (name, uid) in refused.sorted(by: { $0.key < $1.key }) {
      guard let version = good[name], version.uid == uid, !uid.isEmpty, texts.count < Self.maximumObjects,
        bytes + version.text.utf8.count <= Self.maximumWhole
      else { continue }
      texts[uid] = version.text
      bytes += version.text.utf8.count
    }
    return texts
  }
}
