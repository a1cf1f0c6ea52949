import MeshModel

/// Sets, adds and removes fields, in this order; names in any case. Names and values are checked here, once.
public struct HeaderFilter: Sendable {
  fileprivate struct Field: Sendable {
    var lowercase: [UInt8]
    var value: [UInt8]
  }

  private let set: [Field]
  private let add: [Field]
  private let remove: [[UInt8]]

  public init(_ edit: HeaderEdit) throws(FilterError) {
    set = try Self.fields(edit.set)
    add = try Self.fields(edit.add)
    var removed: [[UInt8]] = []
    for name in edit.remove { removed.append(try Self.checked(name)) }
    remove = removed
  }

  /// Of entries with the same name the first counts (Gateway API).
  private static func fields(_ fields: [HeaderEdit.Field]) throws(FilterError) -> [Field] {
    var result: [Field] = []
    for field in fields {
      let name = try checked(field.name)
      guard Array(field.value.utf8).withUnsafeBytes(HTTPSyntax.isFieldValue) else {
        throw FilterError(description: "the value of the header \(field.name) has control characters")
      }
      if result.contains(where: { $0.lowercase == name }) { continue }
      result.append(Field(lowercase: name, value: Array(field.value.utf8)))
    }
    return result
  }

  private static func checked(_ name: String) throws(FilterError) -> [UInt8] {
    if let problem = HeaderEdit.problem(withName: name) { throw FilterError(description: problem) }
    return name.utf8.map(\.asciiLowercase)
  }

  /// To set or add the host replaces it, the authority too; to remove it does nothing: a request has one.
  public func apply(toRequest head: inout HTTPHead) { apply(to: &head, isRequest: true) }

  public func apply(toResponse head: inout HTTPHead) { apply(to: &head, isRequest: false) }

  private func apply(to head: inout HTTPHead, isRequest: Bool) {
    for field in set {
      if isRequest, Self.isHost(field.lowercase) {
        head.replaceHost(field.value)
      } else if let first = head.index(of: field.lowercase) {
        head.fields[first].value = head.store(field.value)
        head.remove(field.lowercase, from: first + 1)
      } else {
        head.append(field)
      }
    }
    for field in add {
      if isRequest, Self.isHost(field.lowercase) {
        head.replaceHost(field.value)
      } else {
        head.append(field)
      }
    }
    for name in remove where !(isRequest && Self.isHost(name)) { head.remove(name) }
  }

  private static func isHost(_ lowercase: [UInt8]) -> Bool { lowercase.elementsEqual("host".utf8) }
}

extension HTTPHead {
  fileprivate mutating func append(_ field: HeaderFilter.Field) {
    // Lower case, as HTTP/2 has it and HTTP/1.1 takes it (RFC 9113 §8.2).
    append(name: field.lowercase, value: field.value)
  }

  /// The authority, and the Host field where there is one.
  mutating func replaceHost(_ host: [UInt8]) {
    setAuthority(host)
    if let index = index(of: "host") { fields[index].value = authority }
  }
}
