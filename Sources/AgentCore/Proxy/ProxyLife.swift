import DiscoveryAPI
import Glibc

/// One proxy from its start, or from when it was found, to its end. Confined to its supervisor.
final class ProxyLife {
  typealias Inventory = (uid: String, listeners: [Weft_Proxy_V1_Listener], descriptors: [Int32])

  let link: ProxyLink
  /// nil until it has said who it is.
  var process: ProxyProcess?
  /// Started by an agent before.
  var isAdopted = false
  /// Told to finish what is open.
  var isRetired = false
  var impatience: Task<Void, any Error>?
  /// Who waits for its hello: whether it came.
  var greeting: CheckedContinuation<Bool, Never>?
  private(set) var hasGreeted = false
  private var inventory: [Inventory] = []

  init(link: ProxyLink, process: ProxyProcess?) {
    self.link = link
    self.process = process
  }

  func take(_ hello: Weft_Proxy_V1_Hello, _ descriptors: [Int32]) {
    var rest = descriptors[...]
    for pod in hello.pods {
      inventory.append((pod.uid, pod.listeners, Array(rest.prefix(pod.listeners.count))))
      rest = rest.dropFirst(pod.listeners.count)
    }
  }

  func greeted() {
    hasGreeted = true
    greeting?.resume(returning: true)
    greeting = nil
  }

  /// The pods that it serves already; the descriptors are the caller's.
  func takeInventory() -> [Inventory] {
    defer { inventory = [] }
    return inventory
  }

  func dropInventory() {
    for fd in takeInventory().flatMap(\.descriptors) { close(fd) }
  }
}

/// Compares programs by what is in them.
enum ProxyProgramFile {
  /// False where either can't be read.
  static func isSame(_ left: String, _ right: String) -> Bool {
    let (a, b) = (open(left, O_RDONLY | O_CLOEXEC), open(right, O_RDONLY | O_CLOEXEC))
    defer { for fd in [a, b] where fd >= 0 { close(fd) } }
    var (one, other) = (stat(), stat())
    guard a >= 0, b >= 0, fstat(a, &one) == 0, fstat(b, &other) == 0, one.st_size == other.st_size else { return false }
    if one.st_dev == other.st_dev, one.st_ino == other.st_ino { return true }
    let size = 1 << 20
    var (mine, theirs) = ([UInt8](repeating: 0, count: size), [UInt8](repeating: 0, count: size))
    while true {
      let count = read(a, &mine, size)
      guard count >= 0, read(b, &theirs, size) == count else { return false }
      if count == 0 { return true }
      guard memcmp(mine, theirs, count) == 0 else { return false }
    }
  }
}
