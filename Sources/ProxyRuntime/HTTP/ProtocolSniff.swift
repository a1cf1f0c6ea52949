import ProxyCore

/// The first bytes of a connection, until they say what it speaks.
final class ProtocolSniff: StreamOwner {
  /// A server that speaks first isn't kept waiting for longer; with the connecting that follows it's below 100 ms.
  static let patience: NanoTime = .milliseconds(80)
  /// A port that says HTTP or TLS: its client speaks first.
  private static let longPatience: NanoTime = .seconds(3600)

  /// The client's.
  let workload: String
  private let stream: any ByteStream
  private let loop: EventLoop
  private let wait: NanoTime
  private var alarm: Alarm?
  private(set) var bytes: [UInt8] = []
  /// The client has ended its direction behind `bytes`.
  private(set) var hasEnded = false
  private var decided: ((ProtocolSniff, SniffedProtocol?) -> Void)?

  /// - Parameter decided: called once; nil: the connection is gone.
  init(
    stream: any ByteStream, workload: String, loop: EventLoop, patience: NanoTime?,
    decided: @escaping (ProtocolSniff, SniffedProtocol?) -> Void
  ) {
    self.stream = stream
    self.workload = workload
    self.loop = loop
    wait = patience ?? Self.longPatience
    self.decided = decided
  }

  func start() {
    stream.side = .downstream
    stream.owner = self
    alarm = loop.after(wait) { [unowned self] in settle(.opaque) }
    stream.resume()
  }

  func received(_ new: UnsafeRawBufferPointer, from side: RelayState.Side) {
    bytes.append(contentsOf: new)
    let verdict = bytes.withUnsafeBytes { ProtocolSniffer.verdict($0) }
    if let verdict { settle(verdict) }
  }

  private func settle(_ verdict: SniffedProtocol?) {
    guard let decided else { return }
    self.decided = nil
    alarm?.cancel()
    stream.pause()
    decided(self, verdict)
  }

  func ended(_ side: RelayState.Side) {
    hasEnded = true
    settle(.opaque)
  }

  /// Nothing has been asked of it that would have to be finished.
  func drain() {
    guard bytes.isEmpty, wait == Self.longPatience, decided != nil else { return }
    stream.close()
    settle(nil)
  }

  func abort() {
    guard decided != nil else { return }
    stream.reset()
    settle(nil)
  }

  func finished(_ side: RelayState.Side) {}
  func unblocked(_ side: RelayState.Side) {}

  func failed(_ side: RelayState.Side, _ failure: StreamFailure) { settle(nil) }
}
