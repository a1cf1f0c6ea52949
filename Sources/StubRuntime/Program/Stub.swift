import CLinux
import CStub
import Glibc
import MeshModel
import StubCore

/// One pod's stub in tunnel mode: its listeners, what it knows of the mesh, its certificate and its connections.
final class Stub {
  struct Counters {
    var established = 0
    var failed = 0
    var refused = 0
    var bytesDown = 0
    var bytesUp = 0
  }

  /// Without bytes for so long, a connection is given up.
  private static let idleSeconds: Int64 = 3600
  /// Above it, the program's clean pages are unmapped; those in use come back at a microsecond each.
  private static let residentGoal: Int64 = 7 << 19
  private static let releaseInterval: Int64 = 1_000_000_000

  let options: RunOptions
  let loop: Loop
  let log = Log()
  var delta: DeltaClient
  var loads = EndpointLoads()
  var counters = Counters()
  let judge: InboundJudge
  let tunnels: TunnelPool
  private(set) var sessions: [ObjectIdentifier: Session] = [:]
  private(set) lazy var inboundTunnels = InboundTunnels(stub: self)
  private(set) lazy var control = ControlLink(stub: self)
  private(set) lazy var certificates = CertificateSource(stub: self)
  private var listeners: [EventSource] = []
  weak var heartbeat: Heartbeat?
  private var drainDeadline: Int64?
  private var quietSince: Int64?
  private var nextRelease: Int64 = 0

  init(_ options: RunOptions) throws(SystemFailure) {
    self.options = options
    loop = try Loop()
    delta = DeltaClient(trustDomain: options.identity.trustDomain)
    tunnels = TunnelPool(loop: loop)
    judge = InboundJudge(pod: options.pod)
  }

  var isDraining: Bool { drainDeadline != nil }
  /// A certificate and the mesh are there: applications may start.
  var isReady: Bool { tunnels.credentials != nil && delta.isComplete && !isDraining }

  func run() throws(SystemFailure) {
    let heartbeat = try Heartbeat(stub: self)
    self.heartbeat = heartbeat
    listeners = [
      try Listener(port: MeshPort.outbound, loop: loop) { [unowned self] in acceptOutbound($0, $1) },
      try Listener(port: MeshPort.inbound, loop: loop) { [unowned self] in acceptInbound($0, $1) },
      try Listener(port: MeshPort.hbone, loop: loop) { [unowned self] in acceptTunnel($0, $1) },
      try Listener(port: StubPort.health, loop: loop) { [unowned self] in
        Answering.start($0, stub: self, isLocal: false, peer: $1)
      },
      try LocalListener(stub: self), try Signals(stub: self), heartbeat,
    ]
    certificates.attempt(Loop.wallClock())
    loop.run()
  }

  func use(_ credentials: Credentials) {
    tunnels.credentials = credentials
    control.use(credentials)
  }

  func keep(_ session: Session) -> Session {
    sessions[ObjectIdentifier(session)] = session
    return session
  }

  func end(_ session: Session) {
    counters.bytesDown += session.bytesDown
    counters.bytesUp += session.bytesUp
    sessions[ObjectIdentifier(session)] = nil
    loop.retire(session)
  }

  /// Once a second.
  func sweep(now: Int64) {
    certificates.sweep(now: now)
    control.sweep(now: now)
    tunnels.sweep(now: now)
    inboundTunnels.sweep(now: now)
    for session in Array(sessions.values) where now > session.lastActive + Self.idleSeconds * 1_000_000_000 {
      session.close()
    }
    if now > nextRelease {
      nextRelease = now + Self.releaseInterval
      // A start, a handshake or a renewal touches code and memory that what follows doesn't.
      if stub_resident_bytes() > Self.residentGoal {
        stub_trim_memory()
        stub_release_clean_pages()
      }
    }
    endWhenDrained(now)
  }

  // MARK: The end

  /// Serves what is there and what still comes, until nothing has been open for a second or the time is up.
  /// - Parameter lingering: at least for the time that the options say.
  func drain(_ why: String, lingering: Bool = false) {
    guard drainDeadline == nil else { return }
    log.write(.info, "\(why): ending when no connection is left, in \(options.drainSeconds) s at the latest")
    drainDeadline = loop.now + Int64(options.drainSeconds) * 1_000_000_000
    quietSince = loop.now + (lingering ? Int64(options.lingerSeconds) * 1_000_000_000 : 0)
    inboundTunnels.drain()
  }

  private func endWhenDrained(_ now: Int64) {
    guard let drainDeadline else { return }
    if !sessions.isEmpty { quietSince = max(now, quietSince ?? now) }
    guard now >= drainDeadline || now > (quietSince ?? now) + 1_000_000_000 else { return }
    for session in Array(sessions.values) { session.close() }
    log.write(.info, "stopped")
    loop.stop()
  }
}

/// SIGTERM and SIGINT.
private final class Signals: EventSource {
  private unowned let stub: Stub

  init(stub: Stub) throws(SystemFailure) {
    self.stub = stub
    let fd = stub_signals()
    guard fd >= 0 else { throw SystemFailure(-fd, "wait for signals") }
    super.init(fd: fd)
    try stub.loop.add(self)
  }

  override func handle(_ events: UInt32) {
    while stub_next_signal(fd) != 0 { stub.drain("asked to stop", lingering: true) }
  }
}

/// Passes the loop's sweep on, and watches for the application's end.
final class Heartbeat: EventSource {
  private unowned let stub: Stub
  private var application = ApplicationWatch()

  init(stub: Stub) throws(SystemFailure) {
    self.stub = stub
    // Something that never has an event.
    let fd = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
    guard fd >= 0 else { throw SystemFailure(errno, "make an event descriptor") }
    super.init(fd: fd)
    try stub.loop.add(self, events: 0)
  }

  override func sweep(now: Int64) {
    stub.sweep(now: now)
    guard stub.options.endsWithApplication else { return }
    if application.hasEnded(others: countOfOtherProcesses(), lastProcess: Self.lastProcess()) {
      stub.drain("the application has ended")
    }
  }

  /// A program of the stub's own has connected.
  func asked() {
    if stub.options.endsWithApplication { application.asked(lastProcess: Self.lastProcess()) }
  }

  /// The last word of /proc/loadavg (proc_loadavg(5)): of this PID namespace; 0 where it can't be read.
  private static func lastProcess() -> Int {
    let file = open("/proc/loadavg", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return 0 }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 128)
    let count = max(0, read(file, &bytes, bytes.count))
    let word = bytes[..<count].split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\n") }.last ?? []
    return word.reduce(0) { number, digit in
      UInt8(ascii: "0")...UInt8(ascii: "9") ~= digit ? number &* 10 &+ Int(digit - UInt8(ascii: "0")) : number
    }
  }

  /// Of a pod that shares its process namespace: all but the pause container (1) and what this program runs as (`wait` too,
  /// before the application).
  private func countOfOtherProcesses() -> Int {
    guard let folder = opendir("/proc") else { return 0 }
    defer { closedir(folder) }
    let own = getpid()
    var count = 0
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { atoi($0) }
      }
      if name > 1, name != own, !isStub(name) { count += 1 }
    }
    return count
  }

  private func isStub(_ process: Int32) -> Bool {
    let file = open("/proc/\(process)/comm", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return false }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 16)
    let count = read(file, &bytes, bytes.count)
    return count > 0 && bytes[..<count].elementsEqual("weft-stub\n".utf8)
  }
}
