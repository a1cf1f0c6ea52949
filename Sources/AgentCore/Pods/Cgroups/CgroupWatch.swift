import Dispatch
import Glibc

/// Wakes whoever reads the cgroup tree: at once when one of the watched folders gets or loses a folder (inotify), and when
/// a set time is over. Confined to `queue`.
final class CgroupWatch: @unchecked Sendable {
  /// One element stands for any number of changes; the first comes at once.
  let ticks: AsyncStream<Void>
  private let continuation: AsyncStream<Void>.Continuation
  private let queue = DispatchQueue(label: "weft.cgroup-watch", qos: .userInteractive)
  private let inotify: Inotify
  private let timer: any DispatchSourceTimer
  private var watched: [String: Int32] = [:]

  init() {
    let (ticks, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    (self.ticks, self.continuation) = (ticks, continuation)
    inotify = Inotify(queue: queue) { continuation.yield() }
    timer = DispatchSource.makeTimerSource(queue: queue)
    timer.setEventHandler { continuation.yield() }
    timer.schedule(deadline: .now())
    timer.activate()
  }

  deinit { timer.cancel() }

  /// Watches exactly these folders from now on.
  /// - Returns: whether one is watched anew: what changed before that isn't told.
  func watch(_ folders: [String]) -> Bool {
    queue.sync {
      guard inotify.descriptor >= 0 else { return false }
      var isNew = false
      let wanted = Set(folders)
      for (path, watch) in watched where !wanted.contains(path) {
        // Where the folder is gone the kernel has taken it away already.
        inotify_rm_watch(inotify.descriptor, watch)
        watched[path] = nil
      }
      for path in wanted {
        // A folder made anew under its name gets another watch; the same one keeps its own.
        let watch = inotify_add_watch(inotify.descriptor, path, UInt32(IN_CREATE | IN_DELETE | IN_ONLYDIR))
        guard watch >= 0 else { continue }
        if watched.updateValue(watch, forKey: path) != watch { isNew = true }
      }
      return isNew
    }
  }

  /// Wakes after so many nanoseconds at the latest.
  func wake(after nanoseconds: UInt64) {
    timer.schedule(deadline: .now() + .nanoseconds(Int(nanoseconds)), leeway: .microseconds(500))
  }
}
