/// Two byte streams joined to one connection, as a pure state machine: half-close, reset and backpressure
/// are carried from one side to the other (RFC 9293 §3.6).
public struct RelayState: Sendable {
  public enum Side: UInt8, Sendable {
    case downstream, upstream

    public var other: Side { self == .downstream ? .upstream : .downstream }
  }

  public struct Actions: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// Pass the end of the stream on to the other side, after what is still unwritten there.
    public static let finishOther = Actions(rawValue: 1)
    public static let resetOther = Actions(rawValue: 2)
    public static let pauseOther = Actions(rawValue: 4)
    public static let resumeOther = Actions(rawValue: 8)
    /// Both directions are done: close both sides.
    public static let close = Actions(rawValue: 16)
  }

  private struct Direction {
    /// The source has sent its end.
    var ended = false
    /// The end has reached the other side's socket.
    var finished = false
  }

  private var fromDownstream = Direction()
  private var fromUpstream = Direction()
  public private(set) var isClosed = false

  public init() {}

  /// No more bytes will come from `side`.
  public mutating func ended(_ side: Side) -> Actions {
    guard !isClosed, !self[side].ended else { return [] }
    self[side].ended = true
    return .finishOther
  }

  /// All bytes and the end that `side` had to send have left to it. It's the end of the other's direction.
  public mutating func finished(_ side: Side) -> Actions {
    guard !isClosed else { return [] }
    self[side.other].finished = true
    guard fromDownstream.finished, fromUpstream.finished else { return [] }
    isClosed = true
    return .close
  }

  /// `side` was reset, or failed.
  public mutating func failed(_ side: Side) -> Actions {
    guard !isClosed else { return [] }
    isClosed = true
    return [.resetOther, .close]
  }

  /// `side` can't take more bytes: who feeds it has to stop.
  public mutating func blocked(_ side: Side) -> Actions {
    isClosed ? [] : .pauseOther
  }

  public mutating func unblocked(_ side: Side) -> Actions {
    isClosed || self[side.other].ended ? [] : .resumeOther
  }

  private subscript(side: Side) -> Direction {
    get { side == .downstream ? fromDownstream : fromUpstream }
    set { if side == .downstream { fromDownstream = newValue } else { fromUpstream = newValue } }
  }
}
