import MeshModel

/// Hashes that are the same in every process, on every node and in every version, so that all proxies send a key to the
/// same endpoint. Not against an adversary who chooses keys; give a secret seed where that matters.
public enum StableHash {
  /// The finalizer of SplitMix64: every bit of the input changes half of the output's.
  @inlinable public static func mix(_ value: UInt64) -> UInt64 {
    var z = value &+ 0x9e37_79b9_7f4a_7c15
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }

  public static func hash(_ bytes: UnsafeRawBufferPointer, seed: UInt64 = 0) -> UInt64 {
    var hash = mix(seed ^ UInt64(bytes.count))
    var offset = 0
    while offset + 8 <= bytes.count {
      hash = mix(hash ^ UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
      offset += 8
    }
    guard offset < bytes.count else { return hash }
    var rest: UInt64 = 0
    while offset < bytes.count {
      rest = rest << 8 | UInt64(bytes[offset])
      offset += 1
    }
    return mix(hash ^ rest)
  }

  public static func hash(_ text: String) -> UInt64 { Array(text.utf8).withUnsafeBytes { hash($0) } }

  public static func hash(_ ip: IPAddress) -> UInt64 { mix(mix(ip.high &+ UInt64(ip.family.rawValue)) ^ ip.low) }

  public static func hash(_ address: SocketAddress) -> UInt64 { mix(hash(address.ip) ^ UInt64(address.port)) }
}

/// Several draws out of one: a choice asks its generator once, whatever it needs (SplitMix64).
struct Draws {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    defer { state &+= 0x9e37_79b9_7f4a_7c15 }
    return StableHash.mix(state)
  }

  /// 0 to `bound` - 1; its bias is below `bound` / 2^64. `bound` is at least 1.
  mutating func below(_ bound: UInt64) -> UInt64 { next().multipliedFullWidth(by: bound).high }

  /// 0 to 1, without the 1.
  mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }
}
