/// What the agent and a pod's stub say to each other over a SOCK_SEQPACKET socket: one message a packet, descriptors beside
/// it. Twelve bytes, then text: version, operation, kind, count, id (4 bytes, big-endian), 4 bytes of 0.
public struct HandoffMessage: Equatable, Sendable {
  public enum Operation: UInt8, Sendable {
    /// Stub, first of all: it is there. One socket beside it says in which network namespace.
    case hello = 1
    /// Agent: open sockets.
    case open
    /// Stub: here they are.
    case opened
    /// Stub: why it can't. Agent: why it doesn't take the stub; it closes then.
    case failed
    /// Agent: the pod is captured, so that its application may start.
    case captured
    /// Agent: not any more.
    case released
  }

  /// What is to be opened.
  public enum Wanted: Equatable, Sendable {
    /// All, in the order of `PodListener.allCases`.
    case listeners
    case listener(PodListener)
    case sockets(PodSocketKind, count: Int)

    /// How many descriptors.
    public var count: Int {
      switch self {
      case .listeners: PodListener.allCases.count
      case .listener: 1
      case .sockets(_, let count): count
      }
    }
  }

  public static let version: UInt8 = 1
  static let headBytes = 12
  /// Of one packet.
  public static let maximumBytes = 512
  public static let maximumSockets = 128

  public var operation: Operation
  public var wanted: Wanted?
  public var id: UInt32
  /// Of `failed`.
  public var text: String

  public init(_ operation: Operation, wanted: Wanted? = nil, id: UInt32 = 0, text: String = "") {
    self.operation = operation
    self.wanted = wanted
    self.id = id
    self.text = text
  }

  public var bytes: [UInt8] {
    var kind: UInt8 = 0
    var count: UInt8 = 0
    switch wanted {
    case nil: break
    case .listeners: kind = 1
    case .listener(let listener): kind = 0x10 + UInt8(listener.rawValue)
    case .sockets(let sockets, let number):
      kind = 0x20 + UInt8(sockets.rawValue)
      count = UInt8(clamping: min(number, Self.maximumSockets))
    }
    var bytes = [Self.version, operation.rawValue, kind, count]
    bytes += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: id >> $0) }
    bytes += [0, 0, 0, 0]
    return bytes + text.utf8.prefix(Self.maximumBytes - Self.headBytes)
  }

  /// nil: it is none of this version.
  public init?(_ bytes: some Collection<UInt8>) {
    let bytes = Array(bytes)
    guard (Self.headBytes...Self.maximumBytes).contains(bytes.count), bytes[0] == Self.version,
      let operation = Operation(rawValue: bytes[1])
    else { return nil }
    self.operation = operation
    switch bytes[2] {
    case 0: wanted = nil
    case 1: wanted = .listeners
    case 0x10..<0x20:
      guard let listener = PodListener(rawValue: Int(bytes[2]) - 0x10) else { return nil }
      wanted = .listener(listener)
    case 0x20..<0x30:
      guard let kind = PodSocketKind(rawValue: Int(bytes[2]) - 0x20), (1...Self.maximumSockets).contains(Int(bytes[3]))
      else { return nil }
      wanted = .sockets(kind, count: Int(bytes[3]))
    default: return nil
    }
    id = bytes[4..<8].reduce(0) { $0 << 8 | UInt32($1) }
    text = String(decoding: bytes[Self.headBytes...], as: UTF8.self)
  }
}
