import Foundation

/// Held while a lab is made, changed or removed, so that two commands don't meet. Ends with the process.
final class LabLock {
  private let descriptor: Int32
  private let path: String

  /// - Throws: `LabError` where another weft-lab holds it for longer than `seconds`.
  init(_ layout: Layout, seconds: Double = 30) throws {
    path = layout.lockFile
    var held: Int32 = -1
    let path = path
    let isHeld = try Waiting.poll(seconds: seconds) {
      try Files.makeFolder(Layout.runRoot)
      let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
      guard file >= 0 else {
        // The last lab's end removed the folder in this moment.
        if errno == ENOENT { return false }
        throw LabError("\(path): can't be opened: \(Errno.text(errno)). The lab needs root.")
      }
      var opened = stat()
      var named = stat()
      if flock(file, LOCK_EX | LOCK_NB) == 0, fstat(file, &opened) == 0, stat(path, &named) == 0,
        opened.st_ino == named.st_ino
      {
        held = file
        return true
      }
      close(file)
      return false
    }
    guard isHeld else { throw LabError("another weft-lab is at work on lab \"\(layout.name)\"; try again") }
    descriptor = held
  }

  /// Removes the file with the lab; whoever waits for it makes a new one.
  func removeFile() {
    unlink(path)
  }

  deinit {
    close(descriptor)
  }
}
