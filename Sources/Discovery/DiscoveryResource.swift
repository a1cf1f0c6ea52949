import Crypto
import Foundation
import SwiftProtobuf

/// Which nodes get a resource.
public enum Audience: Hashable, Sendable {
  case everyNode
  /// Nodes that have meshed workloads, and the one named, whether it has some or not.
  case meshedNodes(and: String?)
  /// This one alone.
  case node(String)

  func includes(_ node: String, meshedNodes: Set<String>) -> Bool {
    switch self {
    case .everyNode: true
    case .meshedNodes(let and): and == node || meshedNodes.contains(node)
    case .node(let only): only == node
    }
  }
}

/// A resource's place in the world.
public struct ResourceKey: Hashable, Sendable {
  public let typeURL: String
  public let name: String

  public init(typeURL: String, name: String) {
    self.typeURL = typeURL
    self.name = name
  }
}

/// A named, versioned message of one type, as the control plane distributes it.
public struct DiscoveryResource: Hashable, Sendable {
  public let key: ResourceKey
  /// The serialized message.
  public let value: Data
  /// 64 bits of the content's SHA-256 in hexadecimal: the same content has the same version on every control plane.
  public let version: String
  public let audience: Audience

  public var typeURL: String { key.typeURL }
  public var name: String { key.name }

  /// Refuses a name or type URL that is empty or above 512 bytes, and a value above 1 MiB.
  public init(typeURL: String, name: String, value: Data, audience: Audience) throws(DiscoveryError) {
    guard 1...DiscoveryLimits.nameBytes ~= name.utf8.count, 1...DiscoveryLimits.nameBytes ~= typeURL.utf8.count else {
      throw DiscoveryError(
        .invalid, "\(typeURL.prefix(100)) \(name.prefix(100)): a name has 1 to \(DiscoveryLimits.nameBytes) bytes")
    }
    guard value.count <= DiscoveryLimits.resourceBytes else {
      throw DiscoveryError(
        .invalid, "\(name): \(value.count) bytes; a resource has at most \(DiscoveryLimits.resourceBytes)")
    }
    key = ResourceKey(typeURL: typeURL, name: name)
    self.value = value
    version = SHA256.hash(data: value).prefix(8).map { String(UInt16($0) | 0x100, radix: 16).dropFirst() }.joined()
    self.audience = audience
  }

  /// Serializes the message so that equal content has equal bytes.
  public init(
    typeURL: String, name: String, message: some Message, audience: Audience
  ) throws(DiscoveryError) {
    var options = BinaryEncodingOptions()
    options.useDeterministicOrdering = true
    let value: Data
    do {
      value = try message.serializedBytes(options: options)
    } catch {
      throw DiscoveryError(.invalid, "\(name.prefix(100)): can't be serialized: \(error)")
    }
    try self.init(typeURL: typeURL, name: name, value: value, audience: audience)
  }
}

/// A resource that a node refused, and why.
public struct RejectedResource: Hashable, Sendable {
  public let typeURL: String
  /// Empty where the whole response was refused.
  public let name: String
  public let reason: String

  public init(typeURL: String, name: String, reason: String) {
    self.typeURL = typeURL
    self.name = name
    self.reason = reason
  }
}

/// What the control plane knows of a node's stream.
public struct NodeStatus: Hashable, Sendable {
  public let node: String
  public var connected: Bool
  /// When it connected or disconnected.
  public var since: Date
  /// What it refuses now, sorted by type and name; at most 1,000 of a type.
  public var nacked: [RejectedResource]

  public init(node: String, connected: Bool, since: Date, nacked: [RejectedResource] = []) {
    self.node = node
    self.connected = connected
    self.since = since
    self.nacked = nacked
  }
}
