import CLinux
import Glibc
import MeshModel

/// What the capture programs tell of a socket, and are told, by socket options (bpf/include/weft_maps.h).
enum CaptureOptions {
  // struct weft_sockaddr
  private static let size = Int(weft_sockaddr_size)
  private static let familyOffset = Int(weft_sockaddr_family_offset)
  private static let portOffset = Int(weft_sockaddr_port_offset)
  private static let addressOffset = Int(weft_sockaddr_address_offset)

  /// Where the application wanted to go; nil for a connection that was not captured.
  static func originalDestination(_ fd: Int32) -> SocketAddress? { get(fd, weft_option_original_destination) }

  /// The DNS server that the pod asked, by the slot that its query's destination names.
  static func dnsServer(_ fd: Int32, slot: Int32) -> SocketAddress? { get(fd, weft_option_dns_server + slot) }

  /// Sets, before connecting to an application, the address that its accept() shall show.
  @discardableResult
  static func setClientAddress(_ fd: Int32, _ client: SocketAddress) -> Bool {
    withUnsafeTemporaryAllocation(byteCount: size, alignment: 8) { bytes in
      bytes.initializeMemory(as: UInt8.self, repeating: 0)
      bytes.storeBytes(
        of: UInt16(client.ip.family == .v4 ? AF_INET : AF_INET6), toByteOffset: familyOffset, as: UInt16.self)
      bytes.storeBytes(of: client.port.bigEndian, toByteOffset: portOffset, as: UInt16.self)
      if let v4 = client.ip.v4 {
        bytes.storeBytes(of: v4.bigEndian, toByteOffset: addressOffset, as: UInt32.self)
      } else {
        bytes.storeBytes(of: client.ip.high.bigEndian, toByteOffset: addressOffset, as: UInt64.self)
        bytes.storeBytes(of: client.ip.low.bigEndian, toByteOffset: addressOffset + 8, as: UInt64.self)
      }
      return setsockopt(fd, Int32(IPPROTO_IP), weft_option_client_address, bytes.baseAddress, socklen_t(size)) == 0
    }
  }

  private static func get(_ fd: Int32, _ option: Int32) -> SocketAddress? {
    withUnsafeTemporaryAllocation(byteCount: size, alignment: 8) { bytes in
      bytes.initializeMemory(as: UInt8.self, repeating: 0)
      var length = socklen_t(size)
      guard getsockopt(fd, Int32(IPPROTO_IP), option, bytes.baseAddress!, &length) == 0, length == size else {
        return nil
      }
      let port = UInt16(bigEndian: bytes.load(fromByteOffset: portOffset, as: UInt16.self))
      switch Int32(bytes.load(fromByteOffset: familyOffset, as: UInt16.self)) {
      case AF_INET:
        let address = UInt32(bigEndian: bytes.load(fromByteOffset: addressOffset, as: UInt32.self))
        return SocketAddress(IPAddress(v4: address), port)
      case AF_INET6:
        let high = UInt64(bigEndian: bytes.load(fromByteOffset: addressOffset, as: UInt64.self))
        let low = UInt64(bigEndian: bytes.load(fromByteOffset: addressOffset + 8, as: UInt64.self))
        return SocketAddress(IPAddress(v6High: high, v6Low: low), port)
      default: return nil
      }
    }
  }
}
