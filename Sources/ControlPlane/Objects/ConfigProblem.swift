/// Why a file, or an object in it, is refused: where it stands, what was found and what was expected.
public struct ConfigProblem: Error, Hashable, Sendable, CustomStringConvertible {
  /// Relative to the configuration folder.
  public var file: String
  /// From 1; nil where the whole file is meant.
  public var line: Int?
  public var column: Int?
  /// `Pod shop/cart`; empty where no object is known yet.
  public var object: String
  /// The field's path (`spec.containers[0].name`); empty where the object is meant.
  public var field: String
  public var reason: String

  public init(
    file: String, line: Int? = nil, column: Int? = nil, object: String = "", field: String = "", reason: String
  ) {
    self.file = file
    self.line = line
    self.column = column
    self.object = object
    self.field = field
    self.reason = reason
  }

  public var description: String {
    let place = [file, line.map(String.init), column.map(String.init)].compactMap { $0 }.joined(separator: ":")
    return [place, object, field, reason].filter { !$0.isEmpty }.joined(separator: ": ")
  }
}
