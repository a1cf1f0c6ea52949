/// One object that came, changed or went.
struct ObjectChange: Sendable {
  var key: ObjectKey
  /// nil: it went.
  var object: MeshObject?

  static func set(_ kind: Kind, _ namespace: String, _ name: String, _ object: MeshObject) -> ObjectChange {
    ObjectChange(key: ObjectKey(kind: kind, name: ObjectName(namespace, name)), object: object)
  }

  static func remove(_ kind: Kind, _ namespace: String, _ name: String) -> ObjectChange {
    ObjectChange(key: ObjectKey(kind: kind, name: ObjectName(namespace, name)), object: nil)
  }
}
