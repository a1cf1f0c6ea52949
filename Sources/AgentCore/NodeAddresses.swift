import Glibc
import MeshModel

/// The addresses of this node's network namespace: where its kubelet's probes come from.
public enum NodeAddresses {
  /// Without loopback and link-local ones; at most 256.
  public static func own() -> [IPAddress] {
    var list: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&list) == 0 else { return [] }
    defer { freeifaddrs(list) }
    var found: [IPAddress] = []
    var next = list
    while let entry = next {
      next = entry.pointee.ifa_next
      guard let raw = entry.pointee.ifa_addr else { continue }
      let address: IPAddress? =
        switch Int32(raw.pointee.sa_family) {
        case AF_INET:
          raw.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
            IPAddress(v4: UInt32(bigEndian: $0.pointee.sin_addr.s_addr))
          }
        case AF_INET6:
          raw.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
            withUnsafeBytes(of: $0.pointee.sin6_addr) { IPAddress(bytes: $0) }
          }
        default: nil
        }
      guard let address, !address.isLoopback, address.high >> 54 != 0x3fa, !found.contains(address) else { continue }
      found.append(address)
    }
    return Array(found.prefix(256))
  }
}
