import CLinux
import Glibc
import Synchronization

/// How another thread reaches an event loop: a bounded queue and an eventfd. It carries configuration and sockets,
/// never a connection's bytes.
final class Mailbox<Message: Sendable>: Sendable {
  private let queue = Mutex<[Message]>([])
  private let bound: Int
  let wakeFD: Int32

  init(bound: Int = 65_536) throws(SystemError) {
    self.bound = bound
    wakeFD = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
    guard wakeFD >= 0 else { throw SystemError(errno, "create an eventfd") }
  }

  deinit { close(wakeFD) }

  /// false where the queue is full: the message is dropped.
  @discardableResult
  func post(_ message: Message) -> Bool {
    let wasEmpty: Bool? = queue.withLock { queue in
      guard queue.count < bound else { return nil }
      queue.append(message)
      return queue.count == 1
    }
    guard let wasEmpty else { return false }
    if wasEmpty { eventfd_write(wakeFD, 1) }
    return true
  }

  func take() -> [Message] {
    var value: eventfd_t = 0
    eventfd_read(wakeFD, &value)
    return queue.withLock { queue in
      var taken: [Message] = []
      swap(&taken, &queue)
      return taken
    }
  }
}

/// The receiving end, in a loop.
final class MailboxSource<Message: Sendable>: EventSource {
  private let mailbox: Mailbox<Message>
  private let receive: (Message) -> Void

  init(_ mailbox: Mailbox<Message>, receive: @escaping (Message) -> Void) {
    self.mailbox = mailbox
    self.receive = receive
    super.init(fd: mailbox.wakeFD)
  }

  override func handle(_ events: UInt32) {
    for message in mailbox.take() { receive(message) }
  }
}
