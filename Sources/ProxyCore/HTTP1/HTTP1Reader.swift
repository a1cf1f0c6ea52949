/// Reads one direction of one HTTP/1.1 connection, message after message (RFC 9112). Strict: what two implementations
/// could read differently is refused, and then nothing more is read.
public struct HTTP1Reader {
  public enum Role: Sendable { case request, response }

  public enum Event {
    case head
    /// A piece of the body, or of a tunnel; valid until the next call.
    case body(UnsafeRawBufferPointer)
    case end
  }

  public enum Framing: Sendable, Hashable {
    case none
    case length(UInt64)
    case chunked
    /// Of responses only.
    case untilClose
  }

  enum State {
    case idle
    case head
    case length(UInt64)
    case chunk(HTTP1ChunkReader)
    case trailers
    case untilClose
    case tunnel
    /// All that the message has was read but its end not yet told.
    case end
    case failed(HTTP1Error)
  }

  public let role: Role
  let limits: HTTP1Limits
  var state = State.idle
  private var section: HTTP1Section
  private var trailerSection: HTTP1Section
  private var expectsResponse = false
  private var answersHead = false
  private var answersConnect = false
  private var answersUpgrade = false
  /// What Connection named: it stands for trailer fields too (RFC 9110 §7.6.1), and the head may be gone by then.
  private var connectionOptions: [UInt8] = []

  /// Valid from `Event.head` until the next message's first byte.
  public private(set) var head = HTTPHead()
  /// The trailer section's fields, complete at the message's end.
  public private(set) var trailers = HTTPHead()
  /// Of the message's body; `none` for a tunnel.
  public private(set) var framing = Framing.none
  /// Whether the connection may carry another message after this one.
  public private(set) var isKeepAlive = true
  /// 0 or 1.
  public private(set) var minorVersion = 1
  /// A request asks for another protocol, or a response agrees to it (101). Never h2c.
  public private(set) var upgrade = false
  /// A request waits for 100 (Continue) before it sends its body.
  public private(set) var expectsContinue = false
  /// Everything after the head is raw bytes: after the 2xx to CONNECT, and 101.
  public private(set) var isTunnel = false
  /// A response with 1xx but 101: it has no body, and another head follows it.
  public private(set) var isInformational = false

  public init(_ role: Role, limits: HTTP1Limits = HTTP1Limits()) {
    self.role = role
    self.limits = limits
    section = HTTP1Section(role == .request ? .request : .response, limits: limits)
    trailerSection = HTTP1Section(.trailers, limits: limits)
  }

  /// Nothing of a message was read yet, or all of it.
  public var isBetweenMessages: Bool {
    switch state {
    case .idle: true
    case .head: head.bytes.isEmpty
    default: false
    }
  }

  /// To be said before each response but after 1xx: what the request was. Bytes that nobody asked for are refused, and so
  /// is 101 unless the request asked for an upgrade that was forwarded.
  public mutating func expectResponse(toHead isHead: Bool, toConnect: Bool, toUpgrade: Bool = false) {
    expectsResponse = true
    answersHead = isHead
    answersConnect = toConnect
    answersUpgrade = toUpgrade
  }

  /// Of a request reader whose CONNECT or upgrade was granted: what follows is raw bytes.
  public mutating func becomeTunnel() {
    guard case .idle = state else { return }
    isTunnel = true
    state = .tunnel
  }

  /// Takes the head, which then may be changed, and leaves another's storage. From `Event.head` to `Event.end`.
  public mutating func exchangeHead(_ other: inout HTTPHead) { swap(&head, &other) }

  /// The next event; `bytes` is shortened by what was used. nil: more bytes are needed, and all were used.
  public mutating func next(from bytes: inout UnsafeRawBufferPointer) throws(HTTP1Error) -> Event? {
    do {
      return try step(&bytes)
    } catch {
      let failure = role == .request ? error : HTTP1Error(status: 502, reason: error.reason)
      state = .failed(failure)
      throw failure
    }
  }

  /// The peer closed its direction: the end of a body that lasts until then, nil between messages.
  public mutating func ended() throws(HTTP1Error) -> Event? {
    switch state {
    case .untilClose, .tunnel, .end:
      finish()
      return .end
    case .failed(let error): throw error
    default:
      guard !isBetweenMessages else { return nil }
      let failure = HTTP1Error(status: role == .request ? 400 : 502, reason: "the connection ended inside a message")
      state = .failed(failure)
      throw failure
    }
  }

  private mutating func step(_ bytes: inout UnsafeRawBufferPointer) throws(HTTP1Error) -> Event? {
    while true {
      switch state {
      case .idle:
        guard bytes.count > 0 else { return nil }
        guard role == .request || expectsResponse else {
          throw HTTP1Error(status: 502, reason: "bytes that no request asked for")
        }
        beginMessage()
        state = .head
      case .head:
        guard try section.read(from: &bytes, into: &head) else { return nil }
        try completeHead()
        return .head
      case .length(let left):
        guard bytes.count > 0 else { return nil }
        let piece = take(Int(min(left, UInt64(bytes.count))), &bytes)
        state = left == UInt64(piece.count) ? .end : .length(left - UInt64(piece.count))
        return .body(piece)
      case .chunk(var chunk):
        let piece = try chunk.next(from: &bytes, limits: limits)
        if chunk.isLast {
          trailers.removeAll()
          trailerSection.reset()
          state = .trailers
          continue
        }
        state = .chunk(chunk)
        return piece.map { .body($0) }
      case .trailers:
        guard try trailerSection.read(from: &bytes, into: &trailers) else { return nil }
        if !connectionOptions.isEmpty { trailers.removeFields(namedIn: trailers.store(connectionOptions)) }
        state = .end
      case .untilClose, .tunnel:
        guard bytes.count > 0 else { return nil }
        return .body(take(bytes.count, &bytes))
      case .end:
        finish()
        return .end
      case .failed(let error): throw error
      }
    }
  }

  private func take(_ count: Int, _ bytes: inout UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    let piece = UnsafeRawBufferPointer(rebasing: bytes[..<count])
    bytes = UnsafeRawBufferPointer(rebasing: bytes[count...])
    return piece
  }

  private mutating func beginMessage() {
    if head.bytes.capacity > HTTP1Limits.keptHead { head = HTTPHead() } else { head.removeAll() }
    if !trailers.bytes.isEmpty { trailers.removeAll() }
    section.reset()
  }

  /// The message is over; after an informational response its final one is still awaited.
  private mutating func finish() {
    state = .idle
    if !isInformational { expectsResponse = false }
  }

  private mutating func completeHead() throws(HTTP1Error) {
    let facts = section.facts
    minorVersion = facts.minorVersion
    isKeepAlive = facts.isKeepAlive
    isTunnel = false
    isInformational = false
    switch role {
    case .request: try completeRequest(facts)
    case .response: try completeResponse(facts)
    }
    connectionOptions = facts.namesFields && framing == .chunked ? head.connectionOptions() : []
    guard !isTunnel else {
      state = .tunnel
      return
    }
    state =
      switch framing {
      case .none, .length(0): .end
      case .length(let length): .length(length)
      case .chunked: .chunk(HTTP1ChunkReader())
      case .untilClose: .untilClose
      }
  }

  private mutating func completeRequest(_ facts: HTTP1Facts) throws(HTTP1Error) {
    framing = try facts.requestFraming()
    upgrade = facts.isUpgrade
    expectsContinue = facts.expectsContinue && minorVersion > 0
    // Of HTTP/1.0 it has to be ignored (RFC 9110 §10.1.1): the next server, asked by HTTP/1.1, would heed it.
    if facts.expectsContinue, minorVersion == 0 { head.remove("expect".utf8) }
    guard facts.host != nil || minorVersion == 0 else { throw HTTP1Error(status: 400, reason: "no Host field") }
    if head.authority.isEmpty, let host = facts.host { head.authority = host }
    facts.completePath(&head)
  }

  private mutating func completeResponse(_ facts: HTTP1Facts) throws(HTTP1Error) {
    let status = head.status
    upgrade = status == 101
    guard !upgrade || answersUpgrade else { throw HTTP1Error(status: 502, reason: "101 without a request for it") }
    isTunnel = upgrade || (answersConnect && 200...299 ~= status)
    isInformational = status < 200 && !upgrade
    // After CONNECT, framing fields mean nothing (RFC 9110 §9.3.6).
    framing = isTunnel ? .none : try facts.responseFraming(status: status, toHead: answersHead)
    if framing == .untilClose || isTunnel { isKeepAlive = false }
  }
}
