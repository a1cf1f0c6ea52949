/// Cuts a TCP stream into DNS messages, each after its length in two bytes (RFC 1035 §4.2.2, RFC 7766 §8), and
/// counts the ones that aren't answered yet: a client may send several without waiting (RFC 7766 §6.2.1.1).
public struct DNSStreamFramer: Sendable {
  public enum Failure: Error, Hashable, Sendable, CustomStringConvertible {
    /// A message shorter than a DNS header: this isn't DNS, close the stream.
    case shortMessage(Int)
    /// More bytes than `room` were appended.
    case overflow

    public var description: String {
      switch self {
      case .shortMessage(let length): "A DNS message of \(length) bytes was announced; a header alone has 12."
      case .overflow: "More than \(DNSStreamFramer.bufferLimit) bytes of DNS messages wait to be answered."
      }
    }
  }

  /// Messages taken from the stream and not answered yet, at most.
  public static let outstandingLimit = 100
  /// Bytes buffered, at most: one message and its length, and as much again read ahead.
  public static let bufferLimit = 2 * (2 + DNSLimits.message)
  /// A stream on which nothing happens for so long may be closed (RFC 7766 §6.2.3 leaves the value to servers).
  public static let idleTimeout: NanoTime = .seconds(30)

  private var buffer: [UInt8] = []
  private var start = 0
  public private(set) var outstanding = 0

  public init() {}

  /// How many bytes can be appended now. Read no more than this from the stream.
  public var room: Int { Self.bufferLimit - (buffer.count - start) }

  /// Whether nothing stands here: a stream that ends with bytes here ended inside a message.
  public var isEmpty: Bool { start == buffer.count }

  public mutating func append(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
    guard bytes.count <= room else { throw .overflow }
    if start > 0 {
      buffer.removeFirst(start)
      start = 0
    }
    buffer.append(contentsOf: bytes)
  }

  /// The next message, without its length; nil if it hasn't arrived in full, or while as many as
  /// `outstandingLimit` aren't answered. Counts as outstanding from here.
  public mutating func next() throws(Failure) -> [UInt8]? {
    guard outstanding < Self.outstandingLimit, buffer.count - start >= 2 else { return nil }
    let length = Int(buffer[start]) << 8 | Int(buffer[start + 1])
    guard length >= DNSLimits.header else { throw .shortMessage(length) }
    guard buffer.count - start >= 2 + length else { return nil }
    let message = Array(buffer[start + 2..<start + 2 + length])
    start += 2 + length
    outstanding += 1
    return message
  }

  /// A message from `next` has been answered, or won't be.
  public mutating func finished() {
    precondition(outstanding > 0, "more DNS messages finished than taken")
    outstanding -= 1
  }

  /// The message after its length, as one array, so that both leave in one segment (RFC 7766 §8). Nil if longer
  /// than a length can say.
  public static func frame(_ message: [UInt8]) -> [UInt8]? {
    guard message.count <= DNSLimits.message else { return nil }
    var framed: [UInt8] = []
    framed.reserveCapacity(2 + message.count)
    framed.appendDNS(UInt16(message.count))
    framed.append(contentsOf: message)
    return framed
  }
}
