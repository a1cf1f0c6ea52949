import CStub
import Glibc
import MeshModel
import StubCore

/// Looks a host name up in a process of its own, so that a slow server holds nobody up.
final class Resolver: EventSource {
  private let loop: Loop
  private let child: Int32
  private var found: [UInt8] = []
  private let completion: ([IPAddress]) -> Void

  /// - Parameter completion: is given nothing where the name isn't known.
  init(_ host: String, loop: Loop, completion: @escaping ([IPAddress]) -> Void) throws(SystemFailure) {
    self.loop = loop
    self.completion = completion
    var child: Int32 = 0
    let fd = stub_resolve(host, &child)
    guard fd >= 0 else { throw SystemFailure(-fd, "look up \(host)") }
    self.child = child
    super.init(fd: fd)
    try loop.add(self)
  }

  override func handle(_ events: UInt32) {
    while true {
      let count = Glibc.read(fd, loop.scratch.baseAddress, 512)
      if count > 0 {
        found += loop.scratch[..<count]
        continue
      }
      if count < 0, errno == EAGAIN { return }
      break
    }
    loop.close(self)
    stub_end_child(child)
    let addresses = stride(from: 0, to: found.count - found.count % 16, by: 16).compactMap {
      IPAddress(bytes: found[$0..<$0 + 16])
    }
    completion(addresses)
  }
}
