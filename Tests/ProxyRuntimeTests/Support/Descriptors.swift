import Glibc

@testable import ProxyRuntime

/// How many descriptors this process has open.
func openDescriptors() throws -> Int {
  guard let folder = opendir("/proc/self/fd") else { throw SystemError(errno, "read /proc/self/fd") }
  defer { closedir(folder) }
  var count = 0
  while readdir(folder) != nil { count += 1 }
  return count
}

/// The same, once the threads of earlier tests have let go of theirs.
func settledDescriptors() throws -> Int {
  var last = try openDescriptors()
  var unchanged = 0
  while unchanged < 100 {
    usleep(2000)
    let now = try openDescriptors()
    unchanged = now == last ? unchanged + 1 : 0
    last = now
  }
  return last
}
