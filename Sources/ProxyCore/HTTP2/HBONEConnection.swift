import NIOCore
import NIOHPACK

/// One HTTP/2 connection that carries CONNECT streams and nothing else (HBONE: RFC 9113 §8.5 over mTLS), as a pure
/// state machine: bytes in, events out, frames into a buffer of the caller's. DATA payloads are handed on where they
/// lie, without a copy.
///
/// Bounds: frames 16 KiB (DATA 256 KiB), a header block 16 KiB, `Limits.streams` streams, `Limits.streamWindow` unread bytes each,
/// and a budget of frames that carry nothing (floods of PING, SETTINGS, RST_STREAM, empty DATA).
public struct HBONEConnection {
  public enum Role: Sendable { case client, server }

  public struct Limits: Sendable {
    /// Streams at once that the peer may open (a server's), and the most a client opens.
    public var streams = 1000
    /// Bytes that a peer may send on a stream before they are consumed.
    public var streamWindow = 512 << 10
    /// The same for all streams together; given back on receipt, so that one slow stream holds up no other.
    public var connectionWindow = 16 << 20
    public var idleFrames = 10_000

    public init() {}
  }

  public enum Event {
    /// Server: a new stream. Answer with `respond`.
    case request(stream: UInt32, HBONERequest)
    /// Client: the answer's status.
    case response(stream: UInt32, status: Int)
    /// Valid until the next call.
    case data(stream: UInt32, UnsafeRawBufferPointer)
    case ended(stream: UInt32)
    case reset(stream: UInt32, code: UInt32)
    /// The stream may send again.
    case writable(stream: UInt32)
    /// Every stream may try again.
    case connectionWritable
    /// No new streams; those above `lastStream` were never seen by the peer.
    case goAway(lastStream: UInt32, code: UInt32)
  }

  struct Stream {
    var sendWindow: Int
    /// What the peer may still send.
    var receiveWindow: Int
    /// Consumed by the application, not given back yet.
    var unacknowledged = 0
    var localEnded = false
    var remoteEnded = false
    var answered = false
  }

  let role: Role
  let limits: Limits
  var streams: [UInt32: Stream] = [:]
  var encoder = HPACKEncoder(allocator: ByteBufferAllocator())
  var decoder = HPACKDecoder(allocator: ByteBufferAllocator())
  var reader: FrameReader
  var headerBlock: HeaderBlock?
  var pendingEvent: Event?
  var sendWindow = HTTP2.initialWindow
  var receiveWindow: Int
  var peerInitialWindow = HTTP2.initialWindow
  var peerMaximumFrame = HTTP2.maximumFrameSize
  var peerMaximumStreams = Int(Int32.max)
  var idleFrameBudget: Int
  /// Frames that the peer may still send on streams that have closed, which it couldn't know when it sent them. They cost
  /// it nothing: there are as many as streams that it opened in earnest, and no more than `idleFrames` kept.
  var lateFrames = 0
  var nextStream: UInt32 = 1
  var highestPeerStream: UInt32 = 0
  public internal(set) var isDraining = false
  var hasSettings = false

  /// Writes the preface and the settings.
  public init(role: Role, limits: Limits = Limits(), into out: inout ByteBuffer) {
    self.role = role
    self.limits = limits
    reader = FrameReader(expectsPreface: role == .server)
    receiveWindow = limits.connectionWindow
    idleFrameBudget = limits.idleFrames
    decoder.maxHeaderListSize = 16 << 10
    var settings: [(HTTP2.Setting, UInt32)] = [
      (.initialWindowSize, UInt32(limits.streamWindow)), (.maximumFrameSize, UInt32(HTTP2.maximumDataSize)),
      (.maximumHeaderListSize, 16 << 10),
    ]
    if role == .client {
      out.writeStaticString(HTTP2.preface)
      settings.append((.enablePush, 0))
    } else {
      settings.append((.maximumConcurrentStreams, UInt32(limits.streams)))
    }
    HTTP2.writeSettings(settings, into: &out)
    HTTP2.write(
      .windowUpdate, stream: 0, words: UInt32(limits.connectionWindow - HTTP2.initialWindow), into: &out)
  }

  public var streamCount: Int { streams.count }

  /// Whether a client may open one more stream now.
  public var acceptsStreams: Bool {
    !isDraining && streams.count < min(limits.streams, peerMaximumStreams) && nextStream < 0x7fff_fff0
  }

  // MARK: Sending

  /// Client: opens a stream; nil where `acceptsStreams` is false.
  public mutating func open(_ request: HBONERequest, into out: inout ByteBuffer) -> UInt32? {
    guard acceptsStreams else { return nil }
    let stream = nextStream
    nextStream += 2
    streams[stream] = Stream(sendWindow: peerInitialWindow, receiveWindow: limits.streamWindow)
    writeHeaders(request.headers, stream: stream, endStream: false, into: &out)
    return stream
  }

  /// Server: answers a CONNECT. A status other than 2xx ends the stream.
  public mutating func respond(_ status: Int, stream: UInt32, into out: inout ByteBuffer) {
    guard streams[stream]?.answered == false else { return }
    let accepted = 200..<300 ~= status
    streams[stream]?.answered = true
    writeHeaders([(":status", String(status))], stream: stream, endStream: !accepted, into: &out)
    guard !accepted else { return }
    streams[stream]?.localEnded = true
    if streams[stream]?.remoteEnded == false {
      reset(stream, code: .noError, into: &out)
    } else {
      close(stream)
    }
  }

  /// Frames as much of `bytes` as the windows allow, and says how much that was.
  public mutating func send(_ bytes: UnsafeRawBufferPointer, stream id: UInt32, into out: inout ByteBuffer) -> Int {
    guard let index = streams.index(forKey: id), !streams.values[index].localEnded else { return bytes.count }
    let allowed = max(0, min(bytes.count, streams.values[index].sendWindow, sendWindow))
    var sent = 0
    while sent < allowed {
      let length = min(allowed - sent, peerMaximumFrame)
      HTTP2.write(
        .data, stream: id, payload: UnsafeRawBufferPointer(rebasing: bytes[sent..<sent + length]), into: &out)
      sent += length
    }
    streams.values[index].sendWindow -= sent
    sendWindow -= sent
    return sent
  }

  public mutating func finish(_ id: UInt32, into out: inout ByteBuffer) {
    guard let stream = streams[id], !stream.localEnded else { return }
    HTTP2.write(
      .data, flags: HTTP2.Flag.endStream, stream: id, payload: UnsafeRawBufferPointer(start: nil, count: 0), into: &out)
    if stream.remoteEnded { close(id) } else { streams[id]?.localEnded = true }
  }

  public mutating func reset(_ id: UInt32, code: HTTP2ErrorCode, into out: inout ByteBuffer) {
    guard streams[id] != nil else { return }
    close(id)
    HTTP2.write(.resetStream, stream: id, words: code.rawValue, into: &out)
  }

  /// A stream is over that the peer hasn't reset: a window's update and a reset may be on their way.
  mutating func close(_ id: UInt32) {
    streams[id] = nil
    lateFrames = min(lateFrames + 2, limits.idleFrames)
  }

  /// The application has taken `count` bytes: the peer may send as many more (in half-window steps).
  public mutating func consumed(_ count: Int, stream id: UInt32, into out: inout ByteBuffer) {
    guard let index = streams.index(forKey: id), !streams.values[index].remoteEnded else { return }
    streams.values[index].unacknowledged += count
    let credit = streams.values[index].unacknowledged
    guard credit >= limits.streamWindow / 2 else { return }
    streams.values[index].unacknowledged = 0
    streams.values[index].receiveWindow += credit
    HTTP2.write(.windowUpdate, stream: id, words: UInt32(credit), into: &out)
  }

  /// Server: asks the peer to open no more streams; those under way are still taken (RFC 9113 §6.8). Call `goAway` a round
  /// trip later.
  public func announceGoAway(into out: inout ByteBuffer) {
    HTTP2.write(.goAway, stream: 0, words: 0x7fff_ffff, HTTP2ErrorCode.noError.rawValue, into: &out)
  }

  /// Tells the peer to open no more streams (RFC 9113 §6.8).
  public mutating func goAway(_ code: HTTP2ErrorCode, into out: inout ByteBuffer) {
    isDraining = true
    HTTP2.write(.goAway, stream: 0, words: highestPeerStream, code.rawValue, into: &out)
  }

  private mutating func writeHeaders(
    _ headers: [(String, String)], stream: UInt32, endStream: Bool, into out: inout ByteBuffer
  ) {
    var block = ByteBuffer()
    // Encoding into a fresh buffer of strings that were checked can't fail: HPACKEncoder throws for a pending table
    // size change only.
    do { try encoder.encode(headers: HPACKHeaders(headers), to: &block) } catch { return }
    let flags = HTTP2.Flag.endHeaders | (endStream ? HTTP2.Flag.endStream : 0)
    block.withUnsafeReadableBytes { HTTP2.write(.headers, flags: flags, stream: stream, payload: $0, into: &out) }
  }
}

/// A CONNECT request.
public struct HBONERequest: Sendable, Equatable {
  public var method: String
  /// `address:port` of the application.
  public var authority: String
  /// The address of the application's client (`forwarded: for="…"`, RFC 7239 §4), empty if not given.
  public var client: String

  public init(method: String = "CONNECT", authority: String, client: String = "") {
    self.method = method
    self.authority = authority
    self.client = client
  }

  var headers: [(String, String)] {
    var headers = [(":method", method), (":authority", authority)]
    if !client.isEmpty { headers.append(("forwarded", "for=\"\(client)\"")) }
    return headers
  }
}
