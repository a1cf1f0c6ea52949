import CLinux
import CStub
import Glibc
import MeshModel
import StubCore

/// Who uses a connection. Calls come from within the connection's own work; they may open, answer and reset streams, and
/// close the connection.
protocol HTTP2Delegate: AnyObject {
  /// The peer's certificate chains to the bundle; `uri` is its one URI SAN, or empty. nil: it may stay; else why not.
  func judge(_ connection: HTTP2Connection, uri: String) -> String?
  func opened(_ connection: HTTP2Connection)
  /// A server's.
  func request(_ connection: HTTP2Connection, stream: HTTP2Stream, method: String, authority: String, forwarded: String)
  /// A client's; `grpcStatus` is below 0 where there is none.
  func response(_ stream: HTTP2Stream, status: Int, grpcStatus: Int, message: String)
  /// No new streams.
  func wentAway(_ connection: HTTP2Connection)
  func closed(_ connection: HTTP2Connection, reason: String)
}

/// One TLS connection with HTTP/2 on it. All that its streams write in a tick leaves in one flush.
final class HTTP2Connection: EventSource {
  enum Role { case client, server }
  private enum State { case connecting, handshaking, open, closed }

  static let window: UInt32 = 64 << 10
  static let streamsBound: UInt32 = 1000
  private static let handshakeSeconds: Int64 = 10
  private static let readsPerTurn = 16

  let peer: SocketAddress
  private(set) var peerURI = ""
  /// When bytes last came.
  private(set) var lastActive: Int64
  var streams: [Int32: HTTP2Stream] = [:]
  private(set) var isGoingAway = false
  /// Whether it has ever been open.
  private(set) var wasOpen = false
  var isOpen: Bool { state == .open }
  var isClosed: Bool { state == .closed }
  var acceptsStreams: Bool {
    state == .open && !isGoingAway && streams.count < min(Int(stub_h2_free_streams(http2)), Int(Self.streamsBound))
  }

  let loop: Loop
  private let role: Role
  private let tls: OpaquePointer
  private var http2: OpaquePointer!
  private weak var delegate: (any HTTP2Delegate)?
  private var state: State
  /// What the socket didn't take.
  private var left = ByteQueue()
  /// Why writing failed; closing waits until nothing of what is written is in use.
  private var broken: String?
  private var isFlushScheduled = false
  private var isReading = false
  private let began: Int64

  init(
    fd: Int32, peer: SocketAddress, role: Role, context: TLSContext, loop: Loop, delegate: any HTTP2Delegate
  ) throws(SystemFailure) {
    self.peer = peer
    self.role = role
    self.loop = loop
    self.delegate = delegate
    guard let tls = stub_tls_new(context.context, fd, role == .server ? 1 : 0) else {
      throw SystemFailure(ENOMEM, "start TLS")
    }
    self.tls = tls
    state = role == .client ? .connecting : .handshaking
    began = loop.now
    lastActive = loop.now
    super.init(fd: fd)
    var callbacks = HTTP2Callbacks.table
    http2 = stub_h2_new(
      role == .server ? 1 : 0, Self.window, Self.streamsBound, &callbacks, Unmanaged.passUnretained(self).toOpaque())
    guard http2 != nil else { throw SystemFailure(ENOMEM, "start HTTP/2") }
    try loop.add(self)
  }

  deinit {
    stub_h2_free(http2)
    stub_tls_free(tls)
  }

  // MARK: Streams

  /// nil where no more can be opened.
  func connect(authority: String, forwarded: String, delegate: any HTTP2StreamDelegate) -> HTTP2Stream? {
    guard acceptsStreams else { return nil }
    return started(stub_h2_connect(http2, authority, forwarded), delegate)
  }

  func call(authority: String, path: String, delegate: any HTTP2StreamDelegate) -> HTTP2Stream? {
    guard acceptsStreams else { return nil }
    return started(stub_h2_call(http2, authority, path), delegate)
  }

  private func started(_ id: Int32, _ delegate: any HTTP2StreamDelegate) -> HTTP2Stream? {
    guard id > 0 else { return nil }
    let stream = HTTP2Stream(id: id, connection: self)
    stream.delegate = delegate
    streams[id] = stream
    wantsFlush()
    return stream
  }

  func respond(_ stream: HTTP2Stream, status: Int) {
    guard state == .open else { return }
    _ = stub_h2_respond(http2, stream.id, Int32(status))
    wantsFlush()
  }

  func resume(_ id: Int32) {
    guard state == .open else { return }
    stub_h2_resume(http2, id)
    wantsFlush()
  }

  func consumed(_ id: Int32, _ count: Int) {
    guard state == .open else { return }
    stub_h2_consumed(http2, id, count)
    wantsFlush()
  }

  func reset(_ id: Int32, code: UInt32) {
    guard state == .open else { return }
    stub_h2_reset(http2, id, code)
    wantsFlush()
  }

  func ping() {
    guard state == .open else { return }
    stub_h2_ping(http2)
    wantsFlush()
  }

  /// A client opens no more streams, and the connection ends with its last one; a server asks its client to do so.
  func drain() {
    guard state == .open else { return close("draining") }
    guard !isGoingAway else { return }
    isGoingAway = true
    stub_h2_goaway(http2)
    wantsFlush()
  }

  // MARK: Events

  override func handle(_ events: UInt32) {
    if state == .connecting {
      guard events & (EPOLLOUT.rawValue | EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0 else { return }
      let code = stub_socket_error(fd)
      guard code == 0 else { return close("can't connect to \(peer): \(String(cString: strerror(code)))") }
      guard events & EPOLLHUP.rawValue == 0 else { return }
      state = .handshaking
    }
    if state == .handshaking { handshake() }
    guard state == .open else { return }
    if events & (EPOLLIN.rawValue | EPOLLRDHUP.rawValue | EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0 { read() }
    if state == .open, events & EPOLLOUT.rawValue != 0, !left.isEmpty { flush() }
  }

  override func runInTick() {
    if isReading {
      isReading = false
      read()
    }
  }

  override func sweep(now: Int64) {
    if state == .connecting || state == .handshaking, now > began + Self.handshakeSeconds * 1_000_000_000 {
      close("no handshake within \(Self.handshakeSeconds) s with \(peer)")
    }
  }

  private func handshake() {
    let result = stub_tls_handshake(tls)
    guard result == 0 else {
      if result == Int32(STUB_TLS_WANT_READ.rawValue) || result == Int32(STUB_TLS_WANT_WRITE.rawValue) { return }
      return close("TLS with \(peer): \(tlsError())")
    }
    guard stub_tls_is_h2(tls) != 0 else { return close("TLS with \(peer): the peer doesn't speak h2") }
    var count: Int32 = 0
    let uri = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 2049) { out in
      count = stub_tls_peer_uri(tls, out.baseAddress, out.count)
      return out.baseAddress.map { String(cString: $0) } ?? ""
    }
    peerURI = count == 1 ? uri : ""
    if let reason = delegate?.judge(self, uri: peerURI) { return close(reason) }
    state = .open
    wasOpen = true
    delegate?.opened(self)
    wantsFlush()
    read()
  }

  func isPeerNamed(_ host: String) -> Bool { stub_tls_peer_is_named(tls, host) != 0 }

  private func tlsError() -> String { withErrorText { stub_tls_error(tls, $0, $1) }.1 }

  private func read() {
    for _ in 0..<Self.readsPerTurn {
      guard state == .open else { return }
      let (filled, result) = fill()
      if filled > 0 {
        lastActive = loop.now
        let code = stub_h2_receive(http2, loop.scratch.baseAddress?.assumingMemoryBound(to: UInt8.self), filled)
        guard state == .open else { return }
        guard code == 0 else {
          flush()
          return close("HTTP/2 with \(peer): \(String(cString: stub_h2_describe(code)))")
        }
        wantsFlush()
      }
      switch result {
      case 0: continue
      case Int32(STUB_TLS_WANT_READ.rawValue), Int32(STUB_TLS_WANT_WRITE.rawValue): return
      case Int32(STUB_TLS_CLOSED.rawValue): return close("closed by \(peer)")
      default: return close("the connection with \(peer): \(tlsError())")
      }
    }
    isReading = true
    loop.schedule(self)
  }

  /// Records together, so that a bulk stream's bytes reach their application in few writes.
  private func fill() -> (Int, Int32) {
    var filled = 0
    while loop.scratch.count - filled >= 16 << 10 {
      let count = stub_tls_read(tls, loop.scratch.baseAddress?.advanced(by: filled), Int32(loop.scratch.count - filled))
      guard count > 0 else { return (filled, count) }
      filled += Int(count)
    }
    return (filled, 0)
  }

  // MARK: Writing

  private func wantsFlush() {
    guard !isFlushScheduled else { return }
    isFlushScheduled = true
    loop.scheduleFlush(self)
  }

  func flush() {
    isFlushScheduled = false
    while state == .open {
      if !left.isEmpty {
        left.take { write($0) }
        if let broken { return close(broken) }
        guard left.isEmpty else { return }
      }
      let filled = collect()
      guard filled > 0 else { break }
      let bytes = UnsafeRawBufferPointer(rebasing: loop.outgoing[..<filled])
      let sent = write(bytes)
      if let broken { return close(broken) }
      if sent < filled { left.append(UnsafeRawBufferPointer(rebasing: bytes[sent...])) }
    }
    guard state == .open else { return }
    if stub_h2_is_alive(http2) == 0 || (isGoingAway && role == .client && streams.isEmpty) {
      close("drained")
    }
  }

  /// Frames for one write; 0: none.
  private func collect() -> Int {
    var filled = 0
    // The largest frame has 16 KiB and its header.
    while loop.outgoing.count - filled >= (16 << 10) + 16 {
      var frame: UnsafePointer<UInt8>?
      let count = stub_h2_take(http2, &frame)
      guard count > 0, let frame else { break }
      let target = UnsafeMutableRawBufferPointer(rebasing: loop.outgoing[filled...])
      guard count <= target.count else {
        close("HTTP/2 with \(peer): a frame of \(count) bytes")
        return 0
      }
      target.copyMemory(from: UnsafeRawBufferPointer(start: frame, count: count))
      filled += count
    }
    return filled
  }

  /// How much has left.
  private func write(_ bytes: UnsafeRawBufferPointer) -> Int {
    var sent = 0
    while sent < bytes.count, broken == nil {
      let count = stub_tls_write(tls, bytes.baseAddress?.advanced(by: sent), Int32(min(bytes.count - sent, 16 << 10)))
      if count > 0 {
        sent += Int(count)
      } else if count == Int32(STUB_TLS_WANT_WRITE.rawValue) || count == Int32(STUB_TLS_WANT_READ.rawValue) {
        break
      } else {
        broken = "the connection with \(peer): \(tlsError())"
      }
    }
    return sent
  }

  // MARK: Closing

  func close(_ reason: String) {
    guard state != .closed else { return }
    if state == .open, left.isEmpty { stub_tls_shutdown(tls) }
    state = .closed
    left.clear()
    loop.retire(self)
    loop.close(self)
    let ended = streams
    streams = [:]
    for stream in ended.values { stream.broke(reason) }
    delegate?.closed(self, reason: reason)
  }

  // MARK: From libnghttp2

  fileprivate func received(request id: Int32, _ method: String, _ authority: String, _ forwarded: String) {
    let stream = HTTP2Stream(id: id, connection: self)
    streams[id] = stream
    delegate?.request(self, stream: stream, method: method, authority: authority, forwarded: forwarded)
  }

  fileprivate func received(response id: Int32, status: Int32, grpcStatus: Int32, message: String) {
    guard let stream = streams[id] else { return }
    delegate?.response(stream, status: Int(status), grpcStatus: Int(grpcStatus), message: message)
  }

  fileprivate func receivedGoAway() {
    isGoingAway = true
    delegate?.wentAway(self)
  }
}

/// The connection that libnghttp2 was given.
private func connectionOf(_ context: UnsafeMutableRawPointer?) -> HTTP2Connection {
  guard let context else { preconditionFailure("libnghttp2 calls with the connection that it was given") }
  return Unmanaged<HTTP2Connection>.fromOpaque(context).takeUnretainedValue()
}

private func textOf(_ pointer: UnsafePointer<CChar>?, _ length: Int) -> String {
  guard let pointer, length > 0 else { return "" }
  return String(decoding: UnsafeRawBufferPointer(start: pointer, count: length), as: UTF8.self)
}

private enum HTTP2Callbacks {
  static var table: stub_h2_callbacks {
    stub_h2_callbacks(
      request: { context, id, method, methodLength, authority, authorityLength, forwarded, forwardedLength in
        connectionOf(context).received(
          request: id, textOf(method, methodLength), textOf(authority, authorityLength),
          textOf(forwarded, forwardedLength))
      },
      response: { context, id, status, grpcStatus, message, length in
        connectionOf(context).received(
          response: id, status: status, grpcStatus: grpcStatus, message: textOf(message, length))
      },
      data: { context, id, data, length in
        let connection = connectionOf(context)
        guard let stream = connection.streams[id] else { return connection.consumed(id, length) }
        stream.received(UnsafeRawBufferPointer(start: data, count: length))
      },
      ended: { context, id in connectionOf(context).streams[id]?.receivedEnd() },
      closed: { context, id, code in
        guard let stream = connectionOf(context).streams.removeValue(forKey: id) else { return }
        stream.closed(code: code)
      },
      supply: { context, id, out, capacity, end in
        guard let stream = connectionOf(context).streams[id], let out, let end else {
          end?.pointee = 1
          return 0
        }
        let (count, isLast) = stream.supply(UnsafeMutableRawBufferPointer(start: out, count: capacity))
        end.pointee = isLast ? 1 : 0
        return count
      },
      goaway: { context in connectionOf(context).receivedGoAway() })
  }
}
