import Glibc
import MeshModel

/// The address of one end of a socket, as the kernel tells the application.
enum SocketName {
  static func local(_ descriptor: Int32) -> SocketAddress { read { getsockname(descriptor, $0, $1) } }
  static func peer(_ descriptor: Int32) -> SocketAddress { read { getpeername(descriptor, $0, $1) } }

  private static func read(
    _ call: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
  ) -> SocketAddress {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = withUnsafeMutablePointer(to: &storage) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { call($0, &length) }
    }
    let unknown = SocketAddress(IPAddress(v4: 0), 0)
    guard result == 0 else { return unknown }
    let isV4 = storage.ss_family == sa_family_t(AF_INET)
    return withUnsafeBytes(of: storage) { bytes in
      // Port and address stand at the same places in every sockaddr_in (4) and sockaddr_in6 (8).
      let port = UInt16(bytes[2]) << 8 | UInt16(bytes[3])
      let address = isV4 ? bytes[4..<8] : bytes[8..<24]
      return IPAddress(bytes: Array(address)).map { SocketAddress($0, port) } ?? unknown
    }
  }
}
