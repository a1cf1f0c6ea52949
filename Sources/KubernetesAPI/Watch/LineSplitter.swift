/// Cuts a watch's stream into lines, one JSON object each, however its bytes come.
public struct LineSplitter: Sendable {
  /// Of a line; etcd's own bound of an object is 1.5 MiB.
  public static let maximumBytes = 8 << 20

  private var pending: [UInt8] = []

  public init() {}

  /// A line that ends in these bytes, or in what is left of them.
  /// - Throws: `KubernetesError` where a line is longer than `maximumBytes`.
  public mutating func lines(in bytes: some Collection<UInt8>) throws(KubernetesError) -> [[UInt8]] {
    var lines: [[UInt8]] = []
    var rest = bytes[...]
    while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
      try check(pending.count + rest.distance(from: rest.startIndex, to: end))
      let line = pending + rest[..<end]
      pending = []
      if !line.isEmpty { lines.append(line) }
      rest = rest[rest.index(after: end)...]
    }
    try check(pending.count + rest.count)
    pending += rest
    return lines
  }

  private func check(_ count: Int) throws(KubernetesError) {
    guard count <= Self.maximumBytes else {
      throw KubernetesError.malformed("an event of more than \(Self.maximumBytes >> 20) MiB")
    }
  }
}
