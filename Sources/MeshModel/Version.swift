/// Weft's own version.
public enum WeftVersion {
  /// Semantic: of every program, and the tag of their images.
  public static let current = "0.1.0"
}
