import Foundation
import Glibc

/// Tells when something in the watched folders may have changed: soon after a write (inotify, calmed down), and
/// every half minute in any case, for file systems that don't tell.
final class FolderWatcher: Sendable {
  struct Timing: Sendable {
    /// Quiet time after which a change counts as complete, milliseconds.
    var debounce: Int32 = 50
    /// A folder that is written to without pause is looked at after this many milliseconds.
    var maximum: Int32 = 500
    /// Milliseconds between looks where nothing was noticed.
    var rescan: Int32 = 30_000
  }

  /// One element stands for any number of changes. Ends with `stop()`.
  let changes: AsyncStream<Void>
  private let continuation: AsyncStream<Void>.Continuation
  private let timing: Timing
  /// -1 where inotify is not to be had: then only the rescan tells.
  private let inotify: Int32
  private let stopRead: Int32
  private let stopWrite: Int32

  /// Throws a sentence where the process has no descriptors left.
  init(timing: Timing = Timing()) throws(ControlPlaneError) {
    self.timing = timing
    (changes, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else {
      throw ControlPlaneError("can't watch the configuration folder: \(ConfigFile.describe(errno))")
    }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    (stopRead, stopWrite) = (ends[0], ends[1])
    inotify = inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC))
    Thread.detachNewThread { [self] in run() }
  }

  var usesInotify: Bool { inotify >= 0 }

  /// Watches these folders too; gives back how many can't be watched.
  func watch(_ folders: [String]) -> Int {
    guard inotify >= 0 else { return folders.count }
    let mask =
      IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVED_FROM | IN_MOVED_TO
      | IN_MOVE_SELF | IN_ONLYDIR
    // A folder watched already keeps its one watch; a folder that is removed loses it by itself.
    return folders.count { inotify_add_watch(inotify, $0, UInt32(mask)) < 0 }
  }

  /// Ends `changes` and the thread, which closes the descriptors. To be called once.
  func stop() {
    close(stopWrite)
  }

  private func run() {
    while true {
      let outcome = wait(timing.rescan)
      if outcome == .stopped { break }
      if outcome == .changed, !settle() { break }
      continuation.yield()
    }
    continuation.finish()
    close(stopRead)
    if inotify >= 0 { close(inotify) }
  }

  private enum Outcome { case changed, quiet, stopped }

  /// Waits for the writing to pause; false once stopped.
  private func settle() -> Bool {
    let end = ContinuousClock.now + .milliseconds(Int64(timing.maximum))
    while ContinuousClock.now < end {
      switch wait(timing.debounce) {
      case .quiet: return true
      case .stopped: return false
      case .changed: continue
      }
    }
    return true
  }

  private func wait(_ milliseconds: Int32) -> Outcome {
    var descriptors = [pollfd(fd: stopRead, events: Int16(POLLIN), revents: 0)]
    if inotify >= 0 { descriptors.append(pollfd(fd: inotify, events: Int16(POLLIN), revents: 0)) }
    let count = poll(&descriptors, nfds_t(descriptors.count), milliseconds)
    if descriptors[0].revents != 0 { return .stopped }
    guard count > 0 else { return count < 0 && errno == EINTR ? .changed : .quiet }
    // What changed is found by looking: the events themselves are not needed.
    var buffer = [UInt8](repeating: 0, count: 16 * 1024)
    while read(inotify, &buffer, buffer.count) > 0 {}
    return .changed
  }
}
