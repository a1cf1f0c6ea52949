import NIOCore

/// One HTTP/2 connection with ordinary requests (RFC 9113), as a pure state machine: bytes in, events out, frames into a
/// buffer of the caller's. Heads are decoded into `head`; DATA is handed on where it lies. In steady state a request
/// allocates nothing.
///
/// Bounds: `Limits`, frames of 256 KiB (DATA) and one header block (others). What breaks them or the protocol ends as an
/// error of the stream, which `next` reports as `reset`, or of the connection, which it throws.
public struct HTTP2Connection {
  public enum Role: Sendable { case client, server }

  public struct Limits: Sendable {
    /// Streams at once that the peer may open (a server's), and the most a client opens.
    public var streams = 100
    /// Bytes that a peer may send on a stream before they are consumed; at least 65,535.
    public var streamWindow = 256 << 10
    /// The same for all streams together; given back on receipt, so that one slow stream holds up no other. What lies
    /// unread is bounded by `streams` times `streamWindow`.
    public var connectionWindow = 4 << 20
    /// Bytes of a header block, and of the fields in it (RFC 7541 §4.1).
    public var headerBlock = 64 << 10
    public var fields = 200
    public var continuations = 16
    /// Frames that carry nothing (PING, SETTINGS, PRIORITY, empty DATA, window updates, unknown ones). Requests, DATA
    /// and what is sent earn them back.
    public var idleFrames = 10_000
    /// Server: requests in vain: reset before their answer, refused or malformed. Answered ones earn them back.
    public var wastedStreams = 500

    public init() {}
  }

  public enum Event {
    /// A request, or a response's informational or final head (`head.status`), in `head`. `end`: nothing follows.
    case headers(stream: UInt32, end: Bool)
    /// Server: a request whose head exceeds `Limits`; what was read of it, unchecked, in `head`. To be answered, with 431
    /// (RFC 6585 §5), and never to be carried on. `end`: nothing follows.
    case oversized(stream: UInt32, end: Bool)
    /// In `head`, fields only. Nothing follows.
    case trailers(stream: UInt32)
    /// Valid until the next call.
    case data(stream: UInt32, UnsafeRawBufferPointer)
    /// After DATA; not after `headers` or `oversized` with `end`, nor after `trailers`.
    case ended(stream: UInt32)
    /// The stream is gone: by the peer's RST_STREAM, by an error of the peer's that was answered with one, or because
    /// the peer goes away without having seen it (REFUSED_STREAM). A client whose response has ended keeps it: NO_ERROR
    /// then only says that the rest of the request isn't wanted (RFC 9113 §8.1).
    case reset(stream: UInt32, code: UInt32)
    /// The stream may send again.
    case writable(stream: UInt32)
    /// Every stream may try again.
    case connectionWritable
    /// No new streams. Those above `lastStream` are reported as reset next.
    case goAway(lastStream: UInt32, code: UInt32)
    /// Client: `open` may be tried again after it answered nil, or after SETTINGS that raised the bound of a connection
    /// that was full.
    case streamsAvailable
    /// The answer to `ping`.
    case pong(UInt64)
  }

  typealias Stream = StreamTable.Stream

  public let role: Role
  let limits: Limits
  /// Of the event `headers`, `oversized` or `trailers`; valid until the next call.
  public internal(set) var head = HTTPHead()
  var streams = StreamTable()
  var closed = ClosedStreams()
  var encoder = HeaderEncoder()
  var decoder = HeaderDecoder()
  var reader: FrameReader
  var headerBlock: HeaderBlock?
  /// Fragments of a block that came in several frames.
  var fragments: [UInt8] = []
  var sendWindow = HTTP2.initialWindow
  var receiveWindow: Int
  var peerInitialWindow = HTTP2.initialWindow
  var peerMaximumFrame = HTTP2.maximumFrameSize
  /// Before the peer's settings: what it should allow at least (RFC 9113 §6.5.2).
  var peerMaximumStreams = 100
  var idleFrameBudget: Int
  var wastedStreamBudget: Int
  var openPings = 0
  var nextStream: UInt32 = 1
  var highestPeerStream: UInt32 = 0
  /// A GOAWAY came, or the final one went.
  public internal(set) var isDraining = false
  /// What the first `goAway` told the peer; later ones may not tell more.
  var announcedLastStream = UInt32.max
  /// The peer's GOAWAY: streams above are gone.
  var peerLastStream = UInt32.max
  var hasSettings = false
  var isStarved = false

  /// Writes the preface and the settings.
  public init(role: Role, limits: Limits = Limits(), into out: inout ByteBuffer) {
    var limits = limits
    // A peer may use the initial windows before it has read the settings.
    limits.streamWindow = max(limits.streamWindow, HTTP2.initialWindow)
    limits.connectionWindow = max(limits.connectionWindow, HTTP2.initialWindow)
    self.role = role
    self.limits = limits
    reader = FrameReader(expectsPreface: role == .server, maximumFrameSize: limits.headerBlock + 256)
    receiveWindow = limits.connectionWindow
    idleFrameBudget = limits.idleFrames
    wastedStreamBudget = limits.wastedStreams
    var settings: [(HTTP2.Setting, UInt32)] = [
      (.initialWindowSize, UInt32(limits.streamWindow)), (.maximumFrameSize, UInt32(HTTP2.maximumDataSize)),
      (.maximumHeaderListSize, UInt32(limits.headerBlock)),
    ]
    if role == .client {
      out.writeStaticString(HTTP2.preface)
      settings.append((.enablePush, 0))
    } else {
      settings.append((.maximumConcurrentStreams, UInt32(limits.streams)))
    }
    HTTP2.writeSettings(settings, into: &out)
    let credit = limits.connectionWindow - HTTP2.initialWindow
    if credit > 0 { HTTP2.write(.windowUpdate, stream: 0, words: UInt32(credit), into: &out) }
  }

  public var streamCount: Int { streams.count }

  /// Whether a client may open one more stream now.
  public var acceptsStreams: Bool {
    role == .client && !isDraining && streams.count < min(limits.streams, peerMaximumStreams)
      && nextStream < 0x7fff_fff0
  }

  /// What the windows let a stream send now, in bytes; 0 where the stream is gone or its sending ended.
  public func capacity(of id: UInt32) -> Int {
    guard let index = streams.index(of: id), !streams[index].localEnded else { return 0 }
    return max(0, min(sendWindow, streams[index].sendWindow))
  }

  /// Whether the stream is there, in either direction.
  public func isOpen(_ id: UInt32) -> Bool { streams.index(of: id) != nil }
}

extension HTTP2Connection {
  /// Takes the head of the event that was answered last, and leaves another's storage.
  public mutating func exchangeHead(_ other: inout HTTPHead) { swap(&head, &other) }
}
