/// Tells when a pod's application has ended by how many processes there are besides the stub, asked once a second.
public struct ApplicationWatch {
  /// Between two containers of a pod there may be an instant without a process.
  static let patience = 3

  private var hasSeenOne = false
  private var missing = 0

  public init() {}

  public mutating func hasEnded(others: Int) -> Bool {
    guard others == 0 else {
      hasSeenOne = true
      missing = 0
      return false
    }
    if hasSeenOne { missing += 1 }
    return missing >= Self.patience
  }
}
