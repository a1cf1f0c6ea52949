import Glibc
import MeshModel

/// What the capture programs tell of a socket, and are told, by socket options (bpf/include/weft_maps.h).
enum CaptureOptions {
  private static let originalDestinationOption: Int32 = 0x5750
  private static let clientAddressOption: Int32 = 0x5751
  private static let dnsServerOption: Int32 = 0x5760
  /// struct weft_sockaddr: family (host order), port (network order), padding, 16 bytes of address.
  private static let size = 24

  /// Where the application wanted to go; nil for a connection that was not captured.
  static func originalDestination(_ fd: Int32) -> SocketAddress? { get(fd, originalDestinationOption) }

  /// The DNS server that the pod asked, by the slot that its query's destination names.
  static func dnsServer(_ fd: Int32, slot: Int32) -> SocketAddress? { get(fd, dnsServerOption + slot) }

  /// Sets, before connecting to an application, the address that its accept() shall show.
  @discardableResult
  static func setClientAddress(_ fd: Int32, _ client: SocketAddress) -> Bool {
    withUnsafeTemporaryAllocation(byteCount: size, alignment: 8) { bytes in
      bytes.initializeMemory(as: UInt8.self, repeating: 0)
      bytes.storeBytes(of: UInt16(client.ip.family == .v4 ? AF_INET : AF_INET6), as: UInt16.self)
      bytes.storeBytes(of: client.port.bigEndian, toByteOffset: 2, as: UInt16.self)
      if let v4 = client.ip.v4 {
        bytes.storeBytes(of: v4.bigEndian, toByteOffset: 8, as: UInt32.self)
      } else {
        bytes.storeBytes(of: client.ip.high.bigEndian, toByteOffset: 8, as: UInt64.self)
        bytes.storeBytes(of: client.ip.low.bigEndian, toByteOffset: 16, as: UInt64.self)
      }
      return setsockopt(fd, Int32(IPPROTO_IP), clientAddressOption, bytes.baseAddress, socklen_t(size)) == 0
    }
  }

  private static func get(_ fd: Int32, _ option: Int32) -> SocketAddress? {
    withUnsafeTemporaryAllocation(byteCount: size, alignment: 8) { bytes in
      bytes.initializeMemory(as: UInt8.self, repeating: 0)
      var length = socklen_t(size)
      guard getsockopt(fd, Int32(IPPROTO_IP), option, bytes.baseAddress!, &length) == 0, length == size else {
        return nil
      }
      let port = UInt16(bigEndian: bytes.load(fromByteOffset: 2, as: UInt16.self))
      switch Int32(bytes.load(as: UInt16.self)) {
      case AF_INET:
        let address = UInt32(bigEndian: bytes.load(fromByteOffset: 8, as: UInt32.self))
        return SocketAddress(IPAddress(v4: address), port)
      case AF_INET6:
        let high = UInt64(bigEndian: bytes.load(fromByteOffset: 8, as: UInt64.self))
        let low = UInt64(bigEndian: bytes.load(fromByteOffset: 16, as: UInt64.self))
        return SocketAddress(IPAddress(v6High: high, v6Low: low), port)
      default: return nil
      }
    }
  }
}
