import MeshModel

/// The checks that the resources from outside share: each names the field and what is wrong with it.
struct Check {
  /// Elements of any list.
  static let maximumElements = 1000
  /// Bytes of any text.
  static let maximumText = 1024
  /// Bytes of a header's value, as the Gateway API has it.
  static let maximumValue = 4096
  let resource: String

  func error(_ field: String, _ reason: String) -> InvalidResource {
    InvalidResource(resource: resource, field: field, reason: reason)
  }

  func callAsFunction(_ holds: Bool, _ field: @autoclosure () -> String, _ reason: String) throws(InvalidResource) {
    if !holds { throw error(field(), reason) }
  }

  func port(_ value: UInt32, _ field: @autoclosure () -> String) throws(InvalidResource) -> UInt16 {
    guard value > 0, let port = UInt16(exactly: value) else {
      throw error(field(), "\(value) is not a port (1 to 65535)")
    }
    return port
  }

  func addresses(_ list: [[UInt8]]) throws(InvalidResource) -> [IPAddress] {
    var addresses: [IPAddress] = []
    for bytes in list {
      guard let address = IPAddress(bytes: bytes) else {
        throw error("addresses", "\(bytes.count) bytes; an address has 4 or 16")
      }
      addresses.append(address)
    }
    return addresses
  }

  func list<Message, Value>(
    _ messages: [Message], _ field: @autoclosure () -> String,
    _ convert: (Message) throws(InvalidResource) -> Value
  ) throws(InvalidResource) -> [Value] {
    guard messages.count <= Self.maximumElements else { throw error(field(), "more than 1,000") }
    var values: [Value] = []
    values.reserveCapacity(messages.count)
    for message in messages { values.append(try convert(message)) }
    return values
  }

  func number(
    _ value: UInt32, _ range: ClosedRange<UInt32>, _ field: @autoclosure () -> String
  ) throws(InvalidResource) -> UInt32 {
    guard range.contains(value) else {
      throw error(field(), "\(value) is not within \(range.lowerBound) to \(range.upperBound)")
    }
    return value
  }

  /// Milliseconds, up to `TrafficTime.maximum`.
  func time(_ value: UInt32, _ field: @autoclosure () -> String) throws(InvalidResource) -> UInt32 {
    try number(value, 0...TrafficTime.maximum, field())
  }

  /// Bounded, and without control characters (RFC 9110 §5.5): it may become part of a message's head.
  func text(
    _ value: String, _ field: @autoclosure () -> String, upTo bytes: Int = maximumText
  ) throws(InvalidResource) -> String {
    guard value.utf8.count <= bytes else { throw error(field(), "more than \(bytes) bytes") }
    guard value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 }) else {
      throw error(field(), "has a control character")
    }
    return value
  }

  /// A token (RFC 9110 §5.6.2): a method, the name of a header or a cookie.
  func token(_ value: String, _ field: @autoclosure () -> String) throws(InvalidResource) -> String {
    guard value.utf8.count <= Self.maximumText, HTTPToken.isToken(value) else {
      throw error(field(), "is not a token of 1 to 1,024 bytes")
    }
    return value
  }

  /// Lower case, or `*.` before it.
  func hostname(_ value: String, _ field: @autoclosure () -> String) throws(InvalidResource) -> String {
    guard DNSName.isSubdomain(value.hasPrefix("*.") ? value.dropFirst(2) : value[...]) else {
      throw error(field(), "is not a host name")
    }
    return value
  }

  func service(_ value: String, _ field: @autoclosure () -> String) throws(InvalidResource) -> ServiceKey {
    guard let key = ServiceKey(value) else { throw error(field(), "is not namespace/name") }
    return key
  }
}
