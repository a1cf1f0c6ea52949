// Stands in for swift-nio's ByteBuffer with what HTTP2Connection uses of it, so that the fuzz target builds in seconds and
// all of it is instrumented. Who writes gets exactly the room that was asked for, where the real one rounds up:
// AddressSanitizer sees each byte beyond.

public struct ByteBuffer {
  public private(set) var bytes: [UInt8] = []

  public init() {}

  private init(_ bytes: [UInt8]) { self.bytes = bytes }

  public var writerIndex: Int { bytes.count }

  public mutating func moveWriterIndex(to offset: Int) {
    precondition(0...bytes.count ~= offset, "the writer's index would lie outside of what was written")
    bytes.removeLast(bytes.count - offset)
  }

  @discardableResult
  public mutating func writeWithUnsafeMutableBytes(
    minimumWritableBytes: Int, _ body: (UnsafeMutableRawBufferPointer) -> Int
  ) -> Int {
    let room = UnsafeMutableRawBufferPointer.allocate(byteCount: minimumWritableBytes, alignment: 1)
    defer { room.deallocate() }
    let count = body(room)
    precondition(0...minimumWritableBytes ~= count, "more was written than there was room for")
    bytes.append(contentsOf: room[..<count])
    return count
  }

  @discardableResult
  public mutating func writeInteger<Number: FixedWidthInteger>(_ value: Number) -> Int {
    withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    return MemoryLayout<Number>.size
  }

  @discardableResult
  public mutating func writeStaticString(_ text: StaticString) -> Int {
    bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    return text.utf8CodeUnitCount
  }

  public func getSlice(at index: Int, length: Int) -> ByteBuffer? {
    guard index >= 0, length >= 0, length <= bytes.count - index else { return nil }
    return ByteBuffer(Array(bytes[index..<index + length]))
  }

  public func withUnsafeReadableBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try bytes.withUnsafeBytes(body)
  }
}
