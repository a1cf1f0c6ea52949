/// Why the control plane can't start or go on: a sentence that says what, where and what to do.
public struct ControlPlaneError: Error, Hashable, CustomStringConvertible {
  public let description: String

  public init(_ description: String) {
    self.description = description
  }
}
