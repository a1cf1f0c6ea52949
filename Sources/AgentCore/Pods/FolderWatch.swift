import Dispatch
import Glibc

/// Tells that a folder may have changed: at once (inotify), and every second in any case, for file systems that don't
/// tell and folders that come later.
final class FolderWatch {
  /// One element stands for any number of changes; the first comes at once.
  let ticks: AsyncStream<Void>
  private let inotify: Int32
  private let timer: any DispatchSourceTimer
  private let reader: (any DispatchSourceRead)?
  private let folder: String

  init(_ folder: String) {
    self.folder = folder
    let (ticks, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    self.ticks = ticks
    let queue = DispatchQueue(label: "weft.folder-watch")
    timer = DispatchSource.makeTimerSource(queue: queue)
    timer.schedule(deadline: .now(), repeating: .seconds(1))
    timer.setEventHandler { continuation.yield() }
    // Without it the timer is enough, only later.
    let inotify = inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC))
    self.inotify = inotify
    if inotify >= 0 {
      let source = DispatchSource.makeReadSource(fileDescriptor: inotify, queue: queue)
      source.setEventHandler {
        // What changed is found by looking: the events themselves are not needed.
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while read(inotify, &buffer, buffer.count) > 0 {}
        continuation.yield()
      }
      source.setCancelHandler { close(inotify) }
      source.activate()
      reader = source
    } else {
      reader = nil
    }
    timer.activate()
  }

  deinit {
    timer.cancel()
    reader?.cancel()
  }

  /// Watches the folder that is there now; one that is watched already keeps its one watch.
  func arm() {
    guard inotify >= 0 else { return }
    let mask = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR
    inotify_add_watch(inotify, folder, UInt32(mask))
  }
}
