import Dispatch
import Glibc

/// Tells that a folder may have changed: at once (inotify), and every second in any case, for file systems that don't
/// tell and folders that come later.
final class FolderWatch {
  /// One element stands for any number of changes; the first comes at once.
  let ticks: AsyncStream<Void>
  private let inotify: Inotify
  private let timer: any DispatchSourceTimer
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
    inotify = Inotify(queue: queue) { continuation.yield() }
    timer.activate()
  }

  deinit { timer.cancel() }

  /// Watches the folder that is there now; one that is watched already keeps its one watch.
  func arm() {
    guard inotify.descriptor >= 0 else { return }
    let mask = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR
    inotify_add_watch(inotify.descriptor, folder, UInt32(mask))
  }
}
