import CLinux
import Glibc
import MeshModel
import ProxyCore

/// Answers one pod's UDP queries, and carries those that aren't the mesh's to the server that the pod asked.
final class DNSDatagramServer: EventSource, PodListener, Timed {
  private static let queriesPerTurn = 64

  private unowned let worker: Worker
  private let pod: PodContext
  private let upstream: DNSUpstream
  private var forwarder = DNSForwarder()
  /// What each slot of the capture's destination rewriting stands for; asked anew every few seconds, since a pod may
  /// come to ask another server.
  private var servers: [Int32: (server: SocketAddress, asked: NanoTime)] = [:]
  private var isStopped = false

  init(worker: Worker, pod: PodContext, fd: Int32, upstream: Int32) throws(SystemError) {
    self.worker = worker
    self.pod = pod
    self.upstream = DNSUpstream(fd: upstream)
    super.init(fd: fd)
    self.upstream.server = self
    try worker.loop.add(self, events: EPOLLIN.rawValue)
    try worker.loop.add(self.upstream, events: EPOLLIN.rawValue)
    worker.loop.startTimer(self)
  }

  override func handle(_ events: UInt32) {
    for _ in 0..<Self.queriesPerTurn where !isStopped {
      guard let datagram = Datagram.receive(fd, into: worker.loop.scratch) else { return }
      answer(datagram)
    }
  }

  private func answer(_ datagram: Datagram) {
    worker.statistics.dnsQueries += 1
    let client = DNSClient.datagram(peer: datagram.peer, local: datagram.local)
    let resolver = DNSResolver(namespace: worker.snapshot.workload(id: pod.id)?.namespace ?? "")
    switch resolver.resolve(
      datagram.bytes, transport: .udp, zone: worker.snapshot, random: worker.loop.random.next())
    {
    case .answer(let bytes): perform([.reply(bytes, to: client)])
    case .drop: break
    case .forward:
      guard let server = server(for: datagram.local) else {
        worker.log(.info, "\(pod.id): no DNS server is known to forward to")
        return
      }
      perform(forwarder.query(Array(datagram.bytes), from: client, server: server, now: worker.loop.now))
    }
  }

  /// The server that the pod addressed: capture names it by the loopback address that it put in its place.
  private func server(for local: IPAddress) -> SocketAddress? {
    let slot: Int32
    if let v4 = local.v4 {
      guard v4 >> 8 == 0x7f_0035, v4 & 0xff > 0 else { return nil }
      slot = Int32(v4 & 0xff) - 1
    } else {
      slot = weft_dns_slot6
    }
    if let known = servers[slot], worker.loop.now < known.asked + .seconds(2) { return known.server }
    guard let server = CaptureOptions.dnsServer(fd, slot: slot) else { return nil }
    servers[slot] = (server, worker.loop.now)
    return server
  }

  fileprivate func replied(_ datagram: Datagram) {
    perform(forwarder.reply(Array(datagram.bytes), from: datagram.peer, transport: .udp, now: worker.loop.now))
  }

  private func perform(_ actions: [DNSForwarder.Action]) {
    for action in actions {
      switch action {
      case .send(let bytes, let server, _): Datagram.send(upstream.fd, bytes, from: nil, to: server)
      case .reply(let bytes, .datagram(let peer, let local)): Datagram.send(fd, bytes, from: local, to: peer)
      case .reply(_, .stream): break
      }
    }
  }

  func timerFired(now: NanoTime) {
    if forwarder.nextDeadline.map({ $0 <= now }) == true { perform(forwarder.tick(now: now)) }
  }

  /// Replies to what was forwarded still come, and go back to who asked.
  func stopAccepting() {
    guard !isStopped, isRegistered else { return }
    worker.loop.remove(self)
  }

  func stop() {
    guard !isStopped else { return }
    isStopped = true
    worker.loop.stopTimer(self)
    for source in [self, upstream] {
      worker.loop.remove(source)
      close(source.fd)
    }
  }
}

/// The socket by which a pod's queries leave.
private final class DNSUpstream: EventSource {
  weak var server: DNSDatagramServer?
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 8)

  deinit { buffer.deallocate() }

  override func handle(_ events: UInt32) {
    while isRegistered, let datagram = Datagram.receive(fd, into: buffer) { server?.replied(datagram) }
  }
}

/// A UDP packet and the two addresses of its way.
struct Datagram {
  let bytes: UnsafeRawBufferPointer
  let local: IPAddress
  let peer: SocketAddress

  /// The next datagram; nil where there is none. One that was cut is passed over.
  static func receive(_ fd: Int32, into buffer: UnsafeMutableRawBufferPointer) -> Datagram? {
    while true {
      var addresses: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
      var port: UInt16 = 0
      var truncated: Int32 = 0
      let length = withUnsafeMutableBytes(of: &addresses) { raw in
        let base = raw.baseAddress!.assumingMemoryBound(to: UInt8.self)
        return weft_receive_datagram(fd, buffer.baseAddress, buffer.count, base, base + 16, &port, &truncated)
      }
      if length == -Int(EINTR) || length == -Int(ECONNREFUSED) { continue }
      guard length >= 0 else { return nil }
      guard truncated == 0 else { continue }
      return Datagram(
        bytes: UnsafeRawBufferPointer(rebasing: buffer[..<length]),
        local: IPAddress(v6High: UInt64(bigEndian: addresses.0), v6Low: UInt64(bigEndian: addresses.1)),
        peer: SocketAddress(
          IPAddress(v6High: UInt64(bigEndian: addresses.2), v6Low: UInt64(bigEndian: addresses.3)), port))
    }
  }

  /// UDP promises nothing: what can't be sent now is lost, as on the wire.
  static func send(_ fd: Int32, _ bytes: [UInt8], from local: IPAddress?, to peer: SocketAddress) {
    let source = local.map(mapped)
    let target = mapped(peer.ip)
    _ = target.withUnsafeBufferPointer { target in
      if let source {
        return source.withUnsafeBufferPointer {
          weft_send_datagram(fd, bytes, bytes.count, $0.baseAddress, target.baseAddress, peer.port)
        }
      }
      return weft_send_datagram(fd, bytes, bytes.count, nil, target.baseAddress, peer.port)
    }
  }

  private static func mapped(_ ip: IPAddress) -> [UInt8] {
    ip.family == .v6 ? ip.bytes : [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff] + ip.bytes
  }
}

extension Worker {
  func serveDNS(_ pod: PodContext, listener: Int32, upstream: Int32?) throws(SystemError) {
    guard let upstream else { throw SystemError(EINVAL, "serve DNS without a socket for upstream queries") }
    pod.listeners.append(try DNSDatagramServer(worker: self, pod: pod, fd: listener, upstream: upstream))
  }
}
