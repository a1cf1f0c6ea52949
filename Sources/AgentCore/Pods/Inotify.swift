import Dispatch
import Glibc

/// An inotify instance whose events aren't read but for their coming: what changed is found by looking, also after an
/// overflow.
final class Inotify {
  /// To add watches to; negative: the kernel gives none, and nothing is told.
  let descriptor: Int32
  private let reader: (any DispatchSourceRead)?

  /// - Parameter changed: called on `queue`.
  init(queue: DispatchQueue, changed: @escaping @Sendable () -> Void) {
    let descriptor = inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC))
    self.descriptor = descriptor
    guard descriptor >= 0 else {
      reader = nil
      return
    }
    let source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: queue)
    source.setEventHandler {
      var buffer = [UInt8](repeating: 0, count: 16 << 10)
      while read(descriptor, &buffer, buffer.count) > 0 {}
      changed()
    }
    source.setCancelHandler { close(descriptor) }
    source.activate()
    reader = source
  }

  deinit { reader?.cancel() }
}
