/// weft.identity.v1: how a pod gets its certificate.
public enum JoinMessages {
  public static let path = "/weft.identity.v1.NodeJoin/Join"
  public static let responseBytes = 256 << 10

  /// - Parameter token: the pod's projected token.
  public static func request(token: String, signingRequest: [UInt8]) -> [UInt8] {
    var writer = ProtobufWriter()
    writer.text(2, token)
    writer.data(3, signingRequest)
    return writer.bytes
  }

  /// DER: the chain, leaf first, and the roots; at most 8 and 32 of at most 16 KiB.
  public static func response(
    _ bytes: UnsafeRawBufferPointer
  ) throws(WireError) -> (chain: [[UInt8]], roots: [[UInt8]]) {
    var chain: [[UInt8]] = []
    var roots: [[UInt8]] = []
    var reader = ProtobufReader(bytes)
    while let (number, value) = try reader.next() {
      guard number == 1 || number == 2 else { continue }
      let certificate = try value.data("certificates")
      guard certificate.count <= 16 << 10, chain.count < 8, roots.count < 32 else {
        throw WireError("the answer holds more certificates than a chain and a bundle have")
      }
      if number == 1 { chain.append(Array(certificate)) } else { roots.append(Array(certificate)) }
    }
    guard !chain.isEmpty, !roots.isEmpty else { throw WireError("the answer lacks a certificate or the trust bundle") }
    return (chain, roots)
  }
}
