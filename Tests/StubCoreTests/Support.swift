import MeshModel

@testable import StubCore

func reading<Value>(_ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) throws -> Value) rethrows -> Value {
  try bytes.withUnsafeBytes(body)
}

/// weft.mesh.v1.Workload as the control plane writes it.
func workload(
  _ name: String, _ address: String, account: String = "web", meshed: Bool = true, ready: Bool = true,
  draining: Bool = false, weight: UInt64? = nil, service: String? = "shop/web", probe: UInt64? = nil
) -> [UInt8] {
  var writer = ProtobufWriter()
  writer.text(1, "shop/\(name)")
  writer.text(2, "shop")
  writer.text(3, name)
  writer.text(4, account)
  writer.data(6, IPAddress(address)!.bytes)
  writer.number(7, meshed ? 1 : 0)
  writer.number(8, ready ? 1 : 0)
  // Packed.
  if let probe { writer.data(10, [UInt8(probe & 0x7f) | 0x80, UInt8(probe >> 7 & 0x7f) | 0x80, UInt8(probe >> 14)]) }
  if let service {
    writer.message(12) {
      $0.text(1, service)
      $0.message(2) {
        $0.number(1, 80)
        $0.number(2, 8080)
      }
    }
  }
  writer.number(15, draining ? 1 : 0)
  if let weight { writer.number(16, weight, isPresent: true) }
  return writer.bytes
}

func service(_ name: String, _ address: String) -> [UInt8] {
  var writer = ProtobufWriter()
  writer.text(1, "shop")
  writer.text(2, name)
  writer.data(3, IPAddress(address)!.bytes)
  writer.message(4) { $0.number(1, 80) }
  writer.message(4) {
    $0.number(1, 53)
    $0.number(4, 1)
  }
  return writer.bytes
}

func config(strict: Bool, domain: String = "cluster.local") -> [UInt8] {
  var writer = ProtobufWriter()
  writer.text(1, domain)
  writer.text(2, "cluster.local")
  writer.number(3, strict ? 1 : 0)
  return writer.bytes
}

/// A mesh with these workloads, the Service shop/web at 10.96.0.1:80 and the node's other facts.
func table(_ workloads: [[UInt8]], strict: Bool? = false) throws -> MeshTable {
  var table = MeshTable(trustDomain: .clusterLocal)
  if let strict { table.set(try reading(config(strict: strict)) { try StubMeshConfig(protobuf: $0) }) }
  table.set(try reading(service("web", "10.96.0.1")) { try StubService(protobuf: $0) })
  for bytes in workloads { table.set(try reading(bytes) { try StubWorkload(protobuf: $0) }) }
  return table
}

/// DeltaDiscoveryResponse.
func response(
  _ url: String, nonce: String, _ resources: [(String, [UInt8])] = [], removed: [String] = [],
  version: String = "0123456789abcdef"
) -> [UInt8] {
  var writer = ProtobufWriter()
  for (name, value) in resources {
    writer.message(2) {
      $0.text(1, version)
      $0.message(2) {
        $0.text(1, url)
        $0.data(2, value)
      }
      $0.text(3, name)
    }
  }
  writer.text(4, url)
  writer.text(5, nonce)
  for name in removed { writer.text(6, name) }
  return writer.bytes
}

/// The fields of a message: number to values, texts as they are, and numbers in digits.
func fields(_ bytes: [UInt8]) throws -> [UInt64: [String]] {
  try reading(bytes) {
    var found: [UInt64: [String]] = [:]
    var reader = ProtobufReader($0)
    while let (number, value) = try reader.next() {
      switch value {
      case .varint(let value): found[number, default: []].append(String(value))
      case .bytes(let bytes): found[number, default: []].append(String(decoding: bytes, as: UTF8.self))
      case .skipped: break
      }
    }
    return found
  }
}

/// Counts up, so that choices repeat.
struct CountingGenerator: RandomNumberGenerator {
  var state: UInt64 = 1

  mutating func next() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return state
  }
}
