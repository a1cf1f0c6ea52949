import CLinux
import Glibc
import MeshModel
import struct NIOCore.ByteBuffer
import ProxyCore

/// One mTLS connection that carries HBONE streams (client or server): a socket, a TLS session and the state machine
/// of HTTP/2 joined. All that its streams write in a tick leaves in one flush.
final class TunnelConnection: EventSource, TickParticipant, Timed {
  static let handshakeTimeout: NanoTime = .seconds(10)
  /// Answers owed to the peer that it doesn't read: beyond this it floods us.
  private static let owedBound = 1 << 20
  /// Unsent bytes at which streams are asked to stop.
  private static let congestion = 256 << 10
  /// Without traffic for so long, a tunnel gives its buffers back.
  private static let bufferTimeout: NanoTime = .seconds(2)
  private static let readsPerTurn = 8
  /// How long streams are taken that were on their way when the peer was asked for no more.
  private static let crossingTime: NanoTime = .milliseconds(500)

  private enum State { case connecting, handshaking, open, closed }

  let peer: SocketAddress
  /// The peer's URI, known once open.
  private(set) var peerURI = ""
  /// Set while more has to leave than the socket takes.
  private(set) var isCongested = false
  private(set) var lastActive: NanoTime
  var isOpen: Bool { state == .open }
  var streamCount: Int { streams.count }
  var acceptsStreams: Bool { state == .open && http2.acceptsStreams }
  /// The peer goes, or is to: what lives here shouldn't be used for anything new.
  var takesNothingNew: Bool { http2.isDraining }

  private let loop: EventLoop
  private let role: HBONEConnection.Role
  private let tls: TLSSession
  private weak var delegate: (any TunnelDelegate)?
  private var http2: HBONEConnection
  private var out = ByteBuffer()
  /// Bytes that the protocol itself has put out since ciphertext left last.
  private var owed = 0
  private var isDraining = false
  /// The peer is to be asked for no more streams, as soon as it can be.
  private var isLeaving = false
  /// When the peer, which has been asked, is refused.
  private var refusesAt: NanoTime?
  private var streams: [UInt32: TunnelStream] = [:]
  private var openings: [UInt32: (Result<TunnelStream, StreamFailure>) -> Void] = [:]
  private var state: State
  private var peerHasEnded = false
  /// Buffers are kept while there is traffic, and given back after it.
  private var holdsBuffers = false
  private var isFlushScheduled = false
  private var isReadScheduled = false
  private let deadline: NanoTime

  init(
    fd: Int32, peer: SocketAddress, role: HBONEConnection.Role, identity: TLSIdentity, loop: EventLoop,
    delegate: any TunnelDelegate
  ) throws {
    self.peer = peer
    self.role = role
    self.loop = loop
    self.delegate = delegate
    tls = try TLSSession(identity, isServer: role == .server)
    http2 = HBONEConnection(role: role, into: &out)
    state = role == .client ? .connecting : .handshaking
    lastActive = loop.now
    deadline = loop.now + Self.handshakeTimeout
    super.init(fd: fd)
    Socket.setNoDelay(fd)
    Socket.setKeepAlive(fd)
    try loop.add(self, events: Socket.edgeTriggered)
    loop.startTimer(self)
  }

  // MARK: Opening and answering streams

  /// Client: asks for a stream; `completion` is called once, unless `cancel` comes first.
  func open(
    _ request: HBONERequest, completion: @escaping (Result<TunnelStream, StreamFailure>) -> Void
  ) -> UInt32? {
    guard state == .open, let id = http2.open(request, into: &out) else { return nil }
    streams[id] = TunnelStream(id: id, tunnel: self)
    openings[id] = completion
    wantsFlush()
    return id
  }

  func cancel(_ id: UInt32) {
    guard openings.removeValue(forKey: id) != nil else { return }
    streamClosed(id, reset: .cancel)
  }

  /// Server: answers a request.
  func respond(_ status: Int, stream id: UInt32) {
    guard state == .open else { return }
    owing { $0.respond(status, stream: id, into: &$1) }
    if !(200..<300 ~= status) { streams[id] = nil }
    wantsFlush()
  }

  // MARK: From streams

  func send(_ bytes: UnsafeRawBufferPointer, stream id: UInt32) -> Int {
    guard state == .open else { return bytes.count }
    let sent = http2.send(bytes, stream: id, into: &out)
    if out.readableBytes > Self.congestion { isCongested = true }
    wantsFlush()
    return sent
  }

  func finish(stream id: UInt32) {
    guard state == .open else { return }
    http2.finish(id, into: &out)
    wantsFlush()
  }

  func consumed(_ count: Int, stream id: UInt32) {
    guard state == .open else { return }
    http2.consumed(count, stream: id, into: &out)
    if out.readableBytes > 0 { wantsFlush() }
  }

  /// What the protocol puts out, which a peer that doesn't read mustn't make grow without bound.
  private func owing(_ body: (inout HBONEConnection, inout ByteBuffer) -> Void) {
    let before = out.readableBytes
    body(&http2, &out)
    owed += out.readableBytes - before
  }

  func streamClosed(_ id: UInt32, reset code: HTTP2ErrorCode?) {
    guard streams.removeValue(forKey: id) != nil, state == .open else { return }
    if let code { owing { $0.reset(id, code: code, into: &$1) } }
    if code != nil || isDraining { wantsFlush() }
    delegate?.tunnelChanged(self)
  }

  // MARK: Events

  override func handle(_ events: UInt32) {
    if state == .connecting {
      guard events & (EPOLLOUT.rawValue | EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0 else { return }
      let code = Socket.pendingError(fd)
      guard code == 0, events & EPOLLHUP.rawValue == 0 else {
        return fail("can't connect: \(String(cString: strerror(code == 0 ? ECONNREFUSED : code)))")
      }
      state = .handshaking
      advanceHandshake()
      flush()
    }
    guard state != .closed else { return }
    if events & EPOLLERR.rawValue != 0 {
      // An alert that says why may stand before the reset.
      read()
      return fail(String(cString: strerror(ECONNRESET)))
    }
    if events & EPOLLOUT.rawValue != 0, !tls.output.isEmpty || out.readableBytes > 0 { flush() }
    if events & (EPOLLRDHUP.rawValue | EPOLLHUP.rawValue) != 0 { peerHasEnded = true }
    if events & (EPOLLIN.rawValue | EPOLLRDHUP.rawValue | EPOLLHUP.rawValue) != 0 { read() }
  }

  func runInTick() {
    if isReadScheduled {
      isReadScheduled = false
      read()
    }
    if isFlushScheduled {
      isFlushScheduled = false
      flush()
    }
  }

  func timerFired(now: NanoTime) {
    if state == .open {
      if let refusesAt {
        if now >= refusesAt { drain() }
        return
      }
      guard now > lastActive + Self.bufferTimeout, out.readableBytes == 0, tls.output.isEmpty else { return }
      out = ByteBuffer()
      tls.trim()
      holdsBuffers = false
      return loop.stopTimer(self)
    }
    guard now >= deadline else { return }
    fail("no handshake within \(Self.handshakeTimeout / .seconds(1)) s")
  }

  private func read() {
    var turns = Self.readsPerTurn
    while state != .closed {
      guard turns > 0 else {
        isReadScheduled = true
        loop.schedule(self)
        return
      }
      turns -= 1
      let count = recv(fd, loop.ciphertext.baseAddress, loop.ciphertext.count, 0)
      if count > 0 {
        lastActive = loop.now
        decrypt(UnsafeRawBufferPointer(rebasing: loop.ciphertext[..<count]))
        // A short read has emptied the socket, unless the end is due as well.
        if count < loop.ciphertext.count, !peerHasEnded { return }
      } else if count == 0 {
        return fail("closed by peer")
      } else if errno == EAGAIN {
        return
      } else if errno != EINTR {
        return fail(String(cString: strerror(errno)))
      }
    }
  }

  private func decrypt(_ ciphertext: UnsafeRawBufferPointer) {
    tls.receive(ciphertext) {
      if state == .handshaking { advanceHandshake() }
      let problem = decryptRecords()
      if let problem { fail(problem) }
    }
    if !tls.output.isEmpty || out.readableBytes > 0, state != .closed { wantsFlush() }
  }

  /// Collects the records of one read and hands them on together: a bulk stream's bytes reach its application in one
  /// write. Returns why the connection ends, if it does.
  private func decryptRecords() -> String? {
    var filled = 0
    var problem: String?
    while state == .open, problem == nil {
      var count = 0
      do throws(TLSFailure) {
        if let read = try tls.read(into: UnsafeMutableRawBufferPointer(rebasing: loop.plaintext[filled...])) {
          count = read
        } else {
          problem = "closed by peer"
        }
      } catch {
        problem = error.reason
      }
      filled += count
      if count == 0 || loop.plaintext.count - filled < TLSSession.recordSize {
        process(UnsafeRawBufferPointer(rebasing: loop.plaintext[..<filled]))
        filled = 0
        if count == 0 { break }
      }
    }
    return problem
  }

  private func advanceHandshake() {
    do {
      guard try tls.handshake() else { return }
    } catch {
      // The alert tells the peer why.
      writeOutput()
      return fail("TLS: \(error.reason)")
    }
    guard tls.isHTTP2 else { return fail("TLS: the peer doesn't speak h2") }
    let uri = tls.peerURI
    if let reason = delegate?.tunnel(self, judge: uri) {
      return fail("identity: \(reason)")
    }
    peerURI = uri ?? ""
    state = .open
    loop.stopTimer(self)
    delegate?.tunnelOpened(self)
    if isLeaving { leave() }
    wantsFlush()
  }

  private func process(_ plaintext: UnsafeRawBufferPointer) {
    var bytes = plaintext
    do throws(HTTP2Error) {
      while state == .open {
        let before = out.readableBytes
        let event = try http2.next(from: &bytes, into: &out)
        owed += out.readableBytes - before
        guard owed <= Self.owedBound else {
          throw HTTP2Error(code: .enhanceYourCalm, reason: "the peer doesn't read what it asks for")
        }
        guard let event else { break }
        handle(event)
      }
    } catch {
      http2.goAway(error.code, into: &out)
      flush()
      fail("HTTP/2: \(error.reason)")
    }
  }

  private func handle(_ event: HBONEConnection.Event) {
    switch event {
    case .data(let id, let bytes):
      if let stream = streams[id] {
        stream.received(bytes)
      } else {
        http2.consumed(bytes.count, stream: id, into: &out)
      }
    case .ended(let id): streams[id]?.receivedEnd()
    case .request(let id, let request):
      let stream = TunnelStream(id: id, tunnel: self)
      streams[id] = stream
      delegate?.tunnel(self, request: request, stream: stream)
    case .response(let id, let status):
      guard let completion = openings.removeValue(forKey: id), let stream = streams[id] else { return }
      if 200..<300 ~= status {
        completion(.success(stream))
      } else {
        streamClosed(id, reset: .cancel)
        completion(.failure(.tunnel("the peer answered \(status)")))
      }
    case .reset(let id, let code):
      let reason = "stream reset, code \(code)"
      // RFC 9113 §8.7: it was not processed.
      breakStream(id, code == HTTP2ErrorCode.refusedStream.rawValue ? .unanswered(reason) : .tunnel(reason))
      delegate?.tunnelChanged(self)
    case .writable(let id): streams[id]?.mayWrite()
    case .connectionWritable: wakeStreams()
    case .goAway(let last, _):
      for id in streams.keys where role == .client && id > last { breakStream(id, .unanswered("refused by GOAWAY")) }
      delegate?.tunnelChanged(self)
    }
  }

  /// - Parameter failure: `unanswered` holds for those only that the peer hasn't answered.
  private func breakStream(_ id: UInt32, _ failure: StreamFailure) {
    let stream = streams.removeValue(forKey: id)
    if let completion = openings.removeValue(forKey: id) {
      completion(.failure(failure))
    } else {
      stream?.broken(failure)
    }
  }

  private func wakeStreams() {
    for stream in Array(streams.values) { stream.mayWrite() }
  }

  // MARK: Writing

  private func wantsFlush() {
    guard !isFlushScheduled else { return }
    isFlushScheduled = true
    loop.scheduleFlush(self)
  }

  private func flush() {
    guard state != .closed, writeOutput() else { return }
    if state == .open, out.readableBytes > 0 {
      do {
        try out.withUnsafeReadableBytes { bytes throws(TLSFailure) in try tls.write(bytes) }
      } catch {
        return fail("TLS: \(error.reason)")
      }
      out.clear()
      if !holdsBuffers {
        holdsBuffers = true
        loop.startTimer(self)
      }
      owed = 0
      guard writeOutput() else { return }
    }
    if isDraining, streams.isEmpty { return close("drained") }
    guard isCongested else { return }
    isCongested = false
    wakeStreams()
  }

  /// true where all ciphertext has left.
  @discardableResult
  private func writeOutput() -> Bool {
    while !tls.output.isEmpty {
      let sent = Glibc.send(fd, tls.output.baseAddress, tls.output.count, Int32(MSG_NOSIGNAL))
      if sent > 0 {
        lastActive = loop.now
        tls.sent(sent)
      } else if errno == EAGAIN {
        isCongested = true
        return false
      } else if errno != EINTR {
        fail(String(cString: strerror(errno)))
        return false
      }
    }
    return true
  }

  // MARK: Closing

  /// Server: another proxy takes the peer's next connection. Nothing that is on its way here is refused.
  func leave() {
    isLeaving = true
    guard state == .open, !isDraining, refusesAt == nil else { return }
    refusesAt = loop.now + Self.crossingTime
    loop.startTimer(self)
    http2.announceGoAway(into: &out)
    wantsFlush()
  }

  /// Opens no more streams; the ones that are there finish.
  func drain() {
    guard state == .open else { return close("drained") }
    isDraining = true
    refusesAt = nil
    http2.goAway(.noError, into: &out)
    wantsFlush()
  }

  func close(_ reason: String) {
    guard state != .closed else { return }
    if state == .open {
      tls.shutdown()
      writeOutput()
    }
    fail(reason)
  }

  private func fail(_ reason: String) {
    guard state != .closed else { return }
    state = .closed
    loop.stopTimer(self)
    // A client's socket may still be open in the agent that made it: closing alone would leave it in epoll.
    loop.remove(self, closing: role == .server)
    Glibc.close(fd)
    let broken = Array(streams.keys)
    for id in broken { breakStream(id, .unanswered(reason)) }
    delegate?.tunnelClosed(self, reason: reason)
  }
}
