import KubernetesAPI

/// One step of a JSON Patch (RFC 6902): those that an injection needs.
public struct PatchStep: Hashable, Sendable {
  public enum Operation: String, Sendable { case add, remove }

  public var operation: Operation
  /// The members' names and elements' numbers from the root, unescaped; `-` is the place after an array's last element.
  public var path: [String]
  /// Of `add`.
  public var value: JSONNode

  public static func add(_ path: [String], _ value: JSONNode) -> Self {
    Self(operation: .add, path: path, value: value)
  }

  public static func remove(_ path: [String]) -> Self { Self(operation: .remove, path: path, value: .null) }

  /// The same step where the document is a part of a larger one.
  public func under(_ parents: [String]) -> Self { Self(operation: operation, path: parents + path, value: value) }

  /// As RFC 6901 writes it.
  public var pointer: String {
    path.map { "/" + $0.replacing("~", with: "~0").replacing("/", with: "~1") }.joined()
  }

  public var json: JSONNode {
    switch operation {
    case .add: ["op": "add", "path": .text(pointer), "value": value]
    case .remove: ["op": "remove", "path": .text(pointer)]
    }
  }
}

/// A step that doesn't fit the document.
public struct PatchProblem: Error, Hashable, Sendable, CustomStringConvertible {
  public var step: PatchStep

  public init(step: PatchStep) { self.step = step }

  public var description: String { "nothing to \(step.operation.rawValue) at \(step.pointer)" }
}

extension JSONNode {
  /// The value after the steps, in their order.
  public func applying(_ steps: [PatchStep]) throws(PatchProblem) -> JSONNode {
    var value = self
    for step in steps {
      guard value.apply(step, step.path[...]) else { throw PatchProblem(step: step) }
    }
    return value
  }

  /// - Returns: false: there is no such place.
  private mutating func apply(_ step: PatchStep, _ path: ArraySlice<String>) -> Bool {
    guard let first = path.first else { return false }
    let rest = path.dropFirst()
    switch self {
    case .object(var members):
      let index = members.firstIndex { $0.key == first }
      if let index, !rest.isEmpty {
        guard members[index].value.apply(step, rest) else { return false }
      } else if rest.isEmpty, step.operation == .add {
        if let index {
          members[index].value = step.value
        } else {
          members.append(Member(key: first, value: step.value))
        }
      } else if rest.isEmpty, let index {
        members.remove(at: index)
      } else {
        return false
      }
      self = .object(members)
    case .array(var elements):
      guard let index = first == "-" ? elements.count : Int(first), index >= 0 else { return false }
      if !rest.isEmpty {
        guard index < elements.count, elements[index].apply(step, rest) else { return false }
      } else if step.operation == .add {
        guard index <= elements.count else { return false }
        elements.insert(step.value, at: index)
      } else {
        guard index < elements.count else { return false }
        elements.remove(at: index)
      }
      self = .array(elements)
    default: return false
    }
    return true
  }
}
