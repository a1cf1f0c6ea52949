/// Bytes that wait for a slow reader: appended at the end, taken from the front. It holds no memory while it is empty.
public struct ByteQueue {
  private var bytes: [UInt8] = []
  private var start = 0

  public init() {}

  public var count: Int { bytes.count - start }
  public var isEmpty: Bool { start == bytes.count }

  public mutating func append(_ more: UnsafeRawBufferPointer) {
    if start > 0, start >= bytes.count / 2 {
      bytes.removeFirst(start)
      start = 0
    }
    bytes += more
  }

  /// Hands what is there to `body`, which says how much it has taken.
  public mutating func take(_ body: (UnsafeRawBufferPointer) -> Int) {
    let taken = bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[start...])) }
    start += min(max(taken, 0), count)
    if isEmpty { clear() }
  }

  public mutating func clear() {
    bytes = []
    start = 0
  }
}
