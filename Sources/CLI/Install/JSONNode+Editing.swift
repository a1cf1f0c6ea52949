import KubernetesAPI

extension JSONNode {
  /// The member that the keys lead to.
  subscript(path: [String]) -> JSONNode? {
    path.reduce(Optional(self)) { $0?[$1] }
  }

  /// Sets the member that the keys lead to, making the objects on the way; nil removes it.
  mutating func set(_ path: some Collection<String>, to value: JSONNode?) {
    guard let key = path.first else {
      self = value ?? .null
      return
    }
    var members = objectMembers
    let index = members.firstIndex { $0.key == key }
    let rest = path.dropFirst()
    if rest.isEmpty, value == nil {
      if let index { members.remove(at: index) }
    } else {
      // Nothing is made on the way to what is to be removed.
      if value == nil, index == nil { return }
      var child = index.map { members[$0].value } ?? .object([])
      child.set(rest, to: value)
      if let index { members[index].value = child } else { members.append(Member(key: key, value: child)) }
    }
    self = .object(members)
  }

  /// Changes each element of the array that the keys lead to.
  mutating func editElements(_ path: [String], _ change: (inout JSONNode) -> Void) {
    guard case .array(var elements) = self[path] else { return }
    for index in elements.indices { change(&elements[index]) }
    set(path, to: .array(elements))
  }

  mutating func removeElements(_ path: [String], where isUnwanted: (JSONNode) -> Bool) {
    guard case .array(let elements) = self[path] else { return }
    set(path, to: .array(elements.filter { !isUnwanted($0) }))
  }

  /// Without the members of that name, wherever they stand.
  func removing(_ key: String) -> JSONNode {
    switch self {
    case .object(let members):
      .object(
        members.filter { $0.key != key }.map { Member(key: $0.key, value: $0.value.removing(key)) })
    case .array(let elements): .array(elements.map { $0.removing(key) })
    default: self
    }
  }

  var objectMembers: [Member] {
    if case .object(let members) = self { members } else { [] }
  }
}
