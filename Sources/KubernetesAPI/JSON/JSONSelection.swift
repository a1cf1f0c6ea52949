/// Which members of a value are read; the others are checked and left out: of 100,000 Pods they are most of the bytes.
/// An array's selection is that of its elements.
public indirect enum JSONSelection: Hashable, Sendable, ExpressibleByDictionaryLiteral {
  case all
  case members([String: JSONSelection])
  case none

  public init(dictionaryLiteral elements: (String, JSONSelection)...) {
    self = .members(Dictionary(elements) { $1 })
  }

  /// The members of those names, whole.
  public init(_ names: [String]) { self = .members(Dictionary(names.map { ($0, .all) }) { $1 }) }

  subscript(name: String) -> JSONSelection {
    switch self {
    case .all: .all
    case .members(let members): members[name] ?? .none
    case .none: .none
    }
  }

  /// With these members beside those selected.
  func adding(_ names: [String]) -> JSONSelection {
    guard case .members(let members) = self else { return self }
    return .members(members.merging(names.map { ($0, .all) }) { $1 })
  }
}
