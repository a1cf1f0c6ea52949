import Glibc
import MeshModel
import ProxyCore

/// One pod's DNS connection over TCP (RFC 7766): the mesh's names are answered, other queries go on to the server
/// that the pod dialled, over one connection of its own.
final class DNSStreamServer: StreamOwner, Timed {
  /// At once, of one pod.
  static let bound = 1024

  private unowned let worker: Worker
  private let pod: PodContext
  private let client: any ByteStream
  private let server: SocketAddress
  private var upstream: (any ByteStream)?
  private var isConnecting = false
  private var isServing = false
  /// Queries that have been read and wait for room.
  private var held: [UInt8] = []
  private var queued: [[UInt8]] = []
  private var queries = DNSStreamFramer()
  private var answers = DNSStreamFramer()
  private var forwarder = DNSForwarder()
  private var lastActive: NanoTime
  private var clientEnded = false
  private var isClosed = false

  init(worker: Worker, pod: PodContext, client: any ByteStream, server: SocketAddress) {
    self.worker = worker
    self.pod = pod
    self.client = client
    self.server = server
    lastActive = worker.loop.now
    pod.dnsStreams += 1
    client.side = .downstream
    client.owner = self
    worker.loop.startTimer(self)
    client.resume()
  }

  func received(_ bytes: UnsafeRawBufferPointer, from side: RelayState.Side) {
    lastActive = worker.loop.now
    attempt { () throws(DNSStreamFramer.Failure) in
      if side == .downstream {
        try receivedQueries(bytes)
      } else {
        try receivedAnswers(bytes)
      }
    }
  }

  /// In pieces, since one read may hold more than there is room for. What there is none for waits, and nothing more is read
  /// meanwhile: one read at most.
  private func receivedQueries(_ bytes: UnsafeRawBufferPointer) throws(DNSStreamFramer.Failure) {
    var rest = bytes[...]
    while !rest.isEmpty, !isClosed {
      guard held.isEmpty, mayServe, queries.room > 0 else { return held.append(contentsOf: rest) }
      let piece = rest.prefix(queries.room)
      rest = rest.dropFirst(piece.count)
      try queries.append(UnsafeRawBufferPointer(rebasing: piece))
      try serveQueries()
    }
  }

  private func receivedAnswers(_ bytes: UnsafeRawBufferPointer) throws(DNSStreamFramer.Failure) {
    var rest = bytes[...]
    while !rest.isEmpty, !isClosed {
      let piece = rest.prefix(max(1, answers.room))
      rest = rest.dropFirst(piece.count)
      try answers.append(UnsafeRawBufferPointer(rebasing: piece))
      while let message = try answers.next() {
        answers.finished()
        perform(forwarder.reply(message, from: server, transport: .tcp, now: worker.loop.now))
      }
      try serveQueries()
    }
  }

  private func attempt(_ body: () throws(DNSStreamFramer.Failure) -> Void) {
    do throws(DNSStreamFramer.Failure) { try body() } catch {
      worker.log(.info, "\(pod.id): DNS over TCP: \(error)")
      close()
    }
  }

  /// Not while too many queries wait for answers, nor while the client doesn't read those that it got.
  private var mayServe: Bool { queries.outstanding < DNSStreamFramer.outstandingLimit && !client.isBlocked }

  /// Takes what has arrived in full, as long as it may: then nothing more is read.
  private func serveQueries() throws(DNSStreamFramer.Failure) {
    // A connection that fails at once comes back here: the loop below goes on by itself.
    guard !isServing else { return }
    isServing = true
    defer { isServing = false }
    let resolver = DNSResolver(namespace: worker.snapshot.workload(id: pod.id)?.namespace ?? "")
    repeat {
      while !isClosed, mayServe, let message = try queries.next() { answer(message, resolver) }
      guard mayServe, !held.isEmpty, !isClosed else { break }
      let count = min(held.count, queries.room)
      let appended = held[..<count].withUnsafeBytes { bytes in
        Result { () throws(DNSStreamFramer.Failure) in try queries.append(bytes) }
      }
      held.removeFirst(count)
      try appended.get()
    } while true
    guard !isClosed else { return }
    if !mayServe {
      client.pause()
    } else if !clientEnded {
      client.resume()
    } else if queries.outstanding == 0 {
      client.finish()
    }
  }

  private func answer(_ message: [UInt8], _ resolver: DNSResolver) {
    worker.statistics.dnsQueries += 1
    let verdict = message.withUnsafeBytes {
      resolver.resolve($0, transport: .tcp, zone: worker.snapshot, random: worker.loop.random.next())
    }
    switch verdict {
    case .answer(let bytes): reply(bytes)
    case .drop: close()
    case .forward: perform(forwarder.query(message, from: .stream(0), server: server, now: worker.loop.now))
    }
  }

  private func reply(_ bytes: [UInt8]) {
    queries.finished()
    DNSStreamFramer.frame(bytes)?.withUnsafeBytes { client.write($0) }
  }

  private func perform(_ actions: [DNSForwarder.Action]) {
    for action in actions {
      switch action {
      case .send(let bytes, _, _):
        guard let framed = DNSStreamFramer.frame(bytes) else { continue }
        if let upstream {
          framed.withUnsafeBytes { upstream.write($0) }
        } else {
          queued.append(framed)
          connect()
        }
      case .reply(let bytes, _): reply(bytes)
      }
    }
  }

  private func connect() {
    guard !isConnecting else { return }
    isConnecting = true
    let pool = pod.pool(.egress(server.ip))
    pool.take(now: worker.loop.now) { [weak self] fd in
      guard let fd else {
        self?.upstreamFailed()
        return
      }
      guard let self, !isClosed else { return pool.giveBack(fd) }
      start(fd, pool)
    }
  }

  private func start(_ fd: Int32, _ pool: SocketPool) {
    if case .failed = Socket.connect(fd, to: server) {
      pool.giveBack(fd)
      return upstreamFailed()
    }
    var stream: TCPStream?
    do {
      stream = try TCPStream(fd: fd, loop: worker.loop, pool: pool) { [weak self] failure in
        let connected = stream
        stream = nil
        guard let self, !isClosed, failure == nil, let connected else {
          connected?.reset()
          self?.upstreamFailed()
          return
        }
        isConnecting = false
        upstream = connected
        connected.side = .upstream
        connected.owner = self
        for message in queued { message.withUnsafeBytes { connected.write($0) } }
        queued = []
        connected.resume()
      }
    } catch {
      Glibc.close(fd)
      upstreamFailed()
    }
  }

  private func upstreamFailed() {
    isConnecting = false
    queued = []
    // Half an answer of this connection is no beginning of the next one's.
    answers = DNSStreamFramer()
    upstream?.reset()
    upstream = nil
    guard !isClosed else { return }
    perform(forwarder.streamFailed(to: server))
    attempt(serveQueries)
  }

  func ended(_ side: RelayState.Side) {
    guard side == .downstream else { return upstreamFailed() }
    clientEnded = true
    attempt(serveQueries)
  }

  func finished(_ side: RelayState.Side) { if side == .downstream { close() } }

  func unblocked(_ side: RelayState.Side) {
    guard side == .downstream else { return }
    lastActive = worker.loop.now
    attempt(serveQueries)
  }

  func failed(_ side: RelayState.Side, _ failure: StreamFailure) {
    if side == .downstream { close() } else { upstreamFailed() }
  }

  func timerFired(now: NanoTime) {
    if forwarder.nextDeadline.map({ $0 <= now }) == true {
      perform(forwarder.tick(now: now))
      attempt(serveQueries)
    }
    if now > lastActive + DNSStreamFramer.idleTimeout { close() }
  }

  private func close() {
    guard !isClosed else { return }
    isClosed = true
    worker.loop.stopTimer(self)
    upstream?.close()
    client.close()
    upstream = nil
    held = []
    pod.dnsStreams -= 1
    worker.release(self)
  }
}

extension Worker {
  /// Takes a captured connection to port 53.
  func serveDNS(over stream: TCPStream, from pod: PodContext, server: SocketAddress) {
    guard pod.dnsStreams < DNSStreamServer.bound else {
      statistics.refused += 1
      log(.debug, "\(pod.id): a DNS connection is refused: \(DNSStreamServer.bound) are open")
      return stream.reset()
    }
    keepAlive(DNSStreamServer(worker: self, pod: pod, client: stream, server: server))
  }
}
