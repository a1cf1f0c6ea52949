import MeshModel

/// What an update has changed, as it was before: so much less than the mesh of before, of which one copy that lives through the
/// update would have the whole of a large mesh copied.
struct MeshUndo: Sendable {
  /// Of one type.
  struct Entries<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private var added: Set<Key> = []
    private var replaced: [Key: Value] = [:]

    /// - Parameter before: nil: it wasn't there.
    mutating func note(_ key: Key, before: Value?) {
      guard !added.contains(key), replaced[key] == nil else { return }
      if let before { replaced[key] = before } else { added.insert(key) }
    }

    /// Takes all away before anything is brought back: two may have changed what only one can have.
    func revert(_ set: (Key, Value?) -> Void) {
      for key in added { set(key, nil) }
      for key in replaced.keys { set(key, nil) }
      for (key, value) in replaced { set(key, value) }
    }
  }

  var config: MeshConfig?
  var workloads = Entries<String, Workload>()
  var services = Entries<ServiceKey, Service>()
  var routes = Entries<String, Route>()
  var policies = Entries<String, TrafficPolicy>()
}
