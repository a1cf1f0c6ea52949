/// What went wrong, where, and what to do, as one or more sentences for a person.
public struct LabError: Error, CustomStringConvertible, Sendable {
  public let description: String

  public init(_ description: String) {
    self.description = description
  }
}
