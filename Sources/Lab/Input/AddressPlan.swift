import MeshModel

/// Who has which address. Node i (from 0) is 10.200.0.(10+i), its pods are 10.244.i.2 to .253; likewise in IPv6.
enum AddressPlan {
  static let linkV4 = "10.200.0.1"
  static let linkV6 = "fd00:200::1"
  /// The DNS server of every pod: nothing listens there, the mesh answers.
  static let dnsServer = IPAddress(v4: 0x0a60_000a)
  static var dnsServerText: String { dnsServer.description }

  static func nodeV4(_ node: Int) -> IPAddress { IPAddress(v4: 0x0ac8_000a + UInt32(node)) }
  static func nodeV6(_ node: Int) -> IPAddress { IPAddress(v6High: 0xfd00_0200_0000_0000, v6Low: UInt64(node) + 10) }
  static func podV4(node: Int, slot: Int) -> IPAddress {
    IPAddress(v4: 0x0af4_0002 + UInt32(node) << 8 + UInt32(slot))
  }
  /// `fd00:244:<node>::<slot + 2>`; node and slot count in hexadecimal there.
  static func podV6(node: Int, slot: Int) -> IPAddress {
    IPAddress(v6High: 0xfd00_0244_0000_0000 | UInt64(node) << 16, v6Low: UInt64(slot) + 2)
  }
  /// The node's own address towards its pods, and their gateway.
  static func gatewayV4(node: Int) -> IPAddress { IPAddress(v4: 0x0af4_0001 + UInt32(node) << 8) }
  static func podRangeV4(node: Int) -> String { "10.244.\(node).0/24" }
  static func podRangeV6(node: Int) -> String {
    "\(IPAddress(v6High: 0xfd00_0244_0000_0000 | UInt64(node) << 16, v6Low: 0))/64"
  }

  /// The n-th address given to a Service without one, from 0: 10.96.1.0 and fd00:96::100 on.
  static func serviceV4(_ index: Int) -> IPAddress { IPAddress(v4: 0x0a60_0100 + UInt32(index)) }
  static func serviceV6(_ index: Int) -> IPAddress {
    IPAddress(v6High: 0xfd00_0096_0000_0000, v6Low: UInt64(index) + 0x100)
  }

  /// Whether no Service may have this address.
  static func isReserved(_ address: IPAddress) -> Bool {
    if address == dnsServer { return true }
    if let v4 = address.v4 { return v4 >> 16 == 0x0af4 || v4 >> 16 == 0x0ac8 }
    return address.high >> 32 == 0xfd00_0244 || address.high >> 32 == 0xfd00_0200
  }
}
