/// The messages of the incremental xDS transport that a stub writes and reads
/// (envoy/service/discovery/v3/discovery.proto).
public enum DeltaMessages {
  /// Bytes of one response.
  public static let responseBytes = 8 << 20
  static let nameBytes = 512
  static let resourceBytes = 1 << 20

  /// Names held of a type, with the versions to resume from.
  static func subscribe(typeURL: String, versions: [String: ResourceVersion]) -> [UInt8] {
    var writer = ProtobufWriter()
    writer.text(2, typeURL)
    writer.text(3, "*")
    for (name, version) in versions {
      writer.message(5) {
        $0.text(1, name)
        $0.text(2, version.text)
      }
    }
    return writer.bytes
  }

  /// ACK, or NACK with a reason.
  static func answer(typeURL: String, nonce: String, error: String?) -> [UInt8] {
    var writer = ProtobufWriter()
    writer.text(2, typeURL)
    writer.text(6, nonce)
    if let error {
      writer.message(7) {
        $0.number(1, 3)
        $0.text(2, error)
      }
    }
    return writer.bytes
  }
}

/// A resource's version: almost always 16 hexadecimal digits, which are kept as the number that they write.
enum ResourceVersion: Equatable {
  case hash(UInt64)
  case other(String)

  init(_ text: String) {
    let isHash = text.utf8.count == 16 && text.utf8.allSatisfy { 0x30...0x39 ~= $0 || 0x61...0x66 ~= $0 }
    if isHash, let hash = UInt64(text, radix: 16) { self = .hash(hash) } else { self = .other(text) }
  }

  var text: String {
    switch self {
    case .other(let text): return text
    case .hash(let hash):
      let digits = String(hash, radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }
  }
}

/// A response, read where it lies.
struct DeltaResponse {
  struct Resource {
    var name = ""
    var version = ""
    var typeURL = ""
    var value = UnsafeRawBufferPointer(start: nil, count: 0)
  }

  var typeURL = ""
  var nonce = ""
  private let bytes: UnsafeRawBufferPointer

  init(_ bytes: UnsafeRawBufferPointer) throws(WireError) {
    self.bytes = bytes
    var reader = ProtobufReader(bytes)
    while let (number, value) = try reader.next() {
      switch number {
      case 4: typeURL = try value.text("type_url", upTo: DeltaMessages.nameBytes)
      case 5: nonce = try value.text("nonce")
      default: break
      }
    }
  }

  /// - Parameter changed: is given each resource, or why it can't be read.
  func forEach(
    changed: (Result<Resource, WireError>) -> Void, removed: (String) -> Void
  ) throws(WireError) {
    var reader = ProtobufReader(bytes)
    while let (number, value) = try reader.next() {
      switch number {
      case 2:
        let data = try value.data("resources")
        do throws(WireError) {
          changed(.success(try Self.resource(data)))
        } catch {
          changed(.failure(error))
        }
      case 6: removed(try value.text("removed_resources", upTo: DeltaMessages.nameBytes))
      default: break
      }
    }
  }

  private static func resource(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> Resource {
    var resource = Resource()
    var reader = ProtobufReader(bytes)
    while let (number, value) = try reader.next() {
      switch number {
      case 1: resource.version = try value.text("version")
      case 2:
        var any = ProtobufReader(try value.data("resource"))
        while let (number, value) = try any.next() {
          if number == 1 { resource.typeURL = try value.text("type_url", upTo: DeltaMessages.nameBytes) }
          if number == 2 { resource.value = try value.data("value") }
        }
      case 3: resource.name = try value.text("name", upTo: DeltaMessages.nameBytes)
      default: break
      }
    }
    guard !resource.name.isEmpty else { throw WireError("a resource has no name") }
    guard resource.value.count <= DeltaMessages.resourceBytes else {
      throw WireError(
        "\(resource.name): \(resource.value.count) bytes; at most \(DeltaMessages.resourceBytes) are accepted")
    }
    return resource
  }
}
