import CLibbpf
import MeshModel

// The mesh's values as bpf/include/weft_maps.h lays them out.

extension weft_address {
  /// IPv4 stands as ::ffff:a.b.c.d.
  init(_ ip: IPAddress) {
    if let v4 = ip.v4 {
      self.init(word: (0, 0, UInt32(0xffff).bigEndian, v4.bigEndian))
    } else {
      self.init(
        word: (
          UInt32(truncatingIfNeeded: ip.high >> 32).bigEndian, UInt32(truncatingIfNeeded: ip.high).bigEndian,
          UInt32(truncatingIfNeeded: ip.low >> 32).bigEndian, UInt32(truncatingIfNeeded: ip.low).bigEndian
        ))
    }
  }

  var ip: IPAddress {
    let high = UInt64(UInt32(bigEndian: word.0)) << 32 | UInt64(UInt32(bigEndian: word.1))
    let low = UInt64(UInt32(bigEndian: word.2)) << 32 | UInt64(UInt32(bigEndian: word.3))
    return IPAddress(v6High: high, v6Low: low)
  }
}

extension weft_prefix {
  init(_ prefix: AddressPrefix) {
    let mapped = prefix.address.family == .v4 ? 96 : 0
    self.init(prefix_length: UInt32(mapped + prefix.length), address: weft_address(prefix.address))
  }
}

extension weft_netns {
  init(flags: UInt32, addresses: [IPAddress]) {
    self.init()
    self.flags = flags
    if let v4 = addresses.lazy.compactMap(\.v4).first { address4 = v4.bigEndian }
    if let v6 = addresses.first(where: { $0.family == .v6 }) { address6 = weft_address(v6) }
  }
}

extension weft_pod {
  static let uidLimit = Int(WEFT_POD_UID_BYTES) - 1
  static let addressLimit = Int(WEFT_POD_ADDRESS_COUNT)
  static let portLimit = Int(WEFT_POD_PORT_COUNT)

  /// The counts are within the limits: checked by the caller.
  init(uid: String, flags: UInt32, addresses: [IPAddress], ports: [UInt16]) {
    self.init()
    self.flags = flags
    address_count = UInt32(addresses.count)
    port_count = UInt32(ports.count)
    withUnsafeMutableBytes(of: &address) { bytes in
      for (slot, value) in zip(bytes.bindMemory(to: weft_address.self).indices, addresses) {
        bytes.bindMemory(to: weft_address.self)[slot] = weft_address(value)
      }
    }
    withUnsafeMutableBytes(of: &port) { bytes in
      for (slot, value) in zip(bytes.bindMemory(to: UInt16.self).indices, ports) {
        bytes.bindMemory(to: UInt16.self)[slot] = value
      }
    }
    withUnsafeMutableBytes(of: &self.uid) { $0.copyBytes(from: uid.utf8.prefix(Self.uidLimit)) }
  }

  var addresses: [IPAddress] {
    withUnsafeBytes(of: address) { bytes in
      bytes.bindMemory(to: weft_address.self).prefix(Int(address_count)).map(\.ip)
    }
  }

  var ports: [UInt16] {
    withUnsafeBytes(of: port) { bytes in Array(bytes.bindMemory(to: UInt16.self).prefix(Int(port_count))) }
  }

  var uidText: String {
    withUnsafeBytes(of: uid) { bytes in String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self) }
  }
}

extension KnownPod {
  init(_ pod: weft_pod, cookie: UInt64) {
    self.init(
      uid: pod.uidText, cookie: cookie, addresses: pod.addresses,
      failMode: pod.flags & WEFT_FAIL_OPEN != 0 ? .open : .closed, probePorts: pod.ports,
      held: pod.flags & WEFT_HOLD != 0)
  }
}

extension PodStatistics {
  init(_ state: weft_state) {
    self.init(
      captured: state.captured, dnsQueries: state.dns_queries, refused: state.refused, passedOpen: state.passed_open,
      flowsClosed: state.flows_closed, bytesAcknowledged: state.bytes_acked, bytesReceived: state.bytes_received,
      retransmits: state.retransmits,
      meanRoundTripTime: state.flows_closed == 0 ? 0 : state.srtt_us / state.flows_closed)
  }
}
