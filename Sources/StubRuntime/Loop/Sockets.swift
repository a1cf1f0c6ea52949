import CStub
import Glibc
import MeshModel

/// The C side's sockets with the mesh's addresses.
enum Sockets {
  typealias Bytes = (UInt64, UInt64)

  static func address(_ bytes: Bytes) -> IPAddress {
    IPAddress(v6High: UInt64(bigEndian: bytes.0), v6Low: UInt64(bigEndian: bytes.1))
  }

  static func bytes(_ address: IPAddress) -> Bytes {
    address.family == .v4
      ? (0, (0xffff_0000_0000 | address.low).bigEndian) : (address.high.bigEndian, address.low.bigEndian)
  }

  /// nil where nobody waits.
  static func accept(_ listener: Int32) -> (fd: Int32, peer: SocketAddress)? {
    var bytes: Bytes = (0, 0)
    var port: UInt16 = 0
    let fd = withUnsafeMutableBytes(of: &bytes) {
      stub_accept(listener, $0.baseAddress?.assumingMemoryBound(to: UInt8.self), &port)
    }
    return fd < 0 ? nil : (fd, SocketAddress(address(bytes), port))
  }

  static func connect(_ to: SocketAddress) throws(SystemFailure) -> Int32 {
    var raw = bytes(to.ip)
    let fd = withUnsafeMutableBytes(of: &raw) {
      stub_connect($0.baseAddress?.assumingMemoryBound(to: UInt8.self), to.port)
    }
    guard fd >= 0 else { throw SystemFailure(-fd, "connect to \(to)") }
    return fd
  }

  static func originalDestination(_ fd: Int32) -> SocketAddress? {
    var bytes: Bytes = (0, 0)
    var port: UInt16 = 0
    let result = withUnsafeMutableBytes(of: &bytes) {
      stub_original_destination(fd, $0.baseAddress?.assumingMemoryBound(to: UInt8.self), &port)
    }
    return result == 0 ? SocketAddress(address(bytes), port) : nil
  }

  static func reset(_ fd: Int32) {
    stub_reset_on_close(fd)
    close(fd)
  }
}

/// Accepts until nobody waits.
final class Listener: EventSource {
  private let accepted: (Int32, SocketAddress) -> Void
  private let loop: Loop

  /// - Parameter accepted: owns the descriptor.
  init(port: UInt16, loop: Loop, accepted: @escaping (Int32, SocketAddress) -> Void) throws(SystemFailure) {
    self.accepted = accepted
    self.loop = loop
    let fd = stub_listen(port, 0)
    guard fd >= 0 else { throw SystemFailure(-fd, "listen on port \(port)") }
    super.init(fd: fd)
    try loop.add(self)
  }

  override func handle(_ events: UInt32) {
    for _ in 0..<256 {
      guard let (fd, peer) = Sockets.accept(self.fd) else { return }
      accepted(fd, peer)
    }
    loop.schedule(self)
  }

  override func runInTick() { handle(0) }
  /// What was left in the backlog because descriptors ran out.
  override func sweep(now: Int64) { handle(0) }
}
