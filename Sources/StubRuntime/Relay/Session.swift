import StubCore

/// One end of a relayed connection. Both directions end on their own (half-close); a side that can't write stops the other
/// from reading.
protocol Side: AnyObject {
  var session: Session? { get set }
  /// More than a little waits to leave: the other side should stop reading.
  var isBlocked: Bool { get }
  /// Everything came and everything left.
  var isDone: Bool { get }
  /// Takes all of it.
  func write(_ bytes: UnsafeRawBufferPointer)
  /// Nothing more will be written.
  func finish()
  /// Reads on; also for the first time.
  func read()
  /// Ends at once, and lets its peer know that it's no orderly end.
  func reset()
}

/// Two sides and what is known of their connection.
final class Session {
  enum Direction { case outbound, inbound }

  let direction: Direction
  let down: any Side
  private(set) var up: (any Side)?
  /// Nanoseconds of the loop's clock.
  var lastActive: Int64
  private(set) var bytesDown = 0
  private(set) var bytesUp = 0
  private(set) var isClosed = false
  private let onClose: (Session) -> Void
  var onEnd: [() -> Void] = []

  init(_ direction: Direction, down: any Side, now: Int64, onClose: @escaping (Session) -> Void) {
    self.direction = direction
    self.down = down
    self.onClose = onClose
    lastActive = now
    down.session = self
  }

  /// Both read from now on.
  func join(_ side: any Side) {
    guard !isClosed else { return side.reset() }
    up = side
    side.session = self
    down.read()
    if !isClosed { side.read() }
  }

  func received(_ bytes: UnsafeRawBufferPointer, from side: any Side, now: Int64) {
    lastActive = now
    if side === down {
      bytesUp += bytes.count
      up?.write(bytes)
    } else {
      bytesDown += bytes.count
      down.write(bytes)
    }
  }

  /// Whether `side` has to wait with reading.
  func isBlocked(for side: any Side) -> Bool { (side === down ? up?.isBlocked : down.isBlocked) ?? true }

  func ended(_ side: any Side) {
    (side === down ? up : down)?.finish()
    settle()
  }

  /// What waited in `side` has left.
  func unblocked(_ side: any Side) {
    if side === down { up?.read() } else { down.read() }
    settle()
  }

  func settle() {
    if down.isDone, up?.isDone == true { close(reset: false) }
  }

  func close(reset: Bool = true) {
    guard !isClosed else { return }
    isClosed = true
    if reset {
      down.reset()
      up?.reset()
    }
    let ends = onEnd
    onEnd = []
    for end in ends { end() }
    onClose(self)
  }
}
