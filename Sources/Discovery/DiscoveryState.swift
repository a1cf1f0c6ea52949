import DiscoveryAPI
import Foundation

/// A resource as a node received it.
public struct ReceivedResource: Hashable, Sendable {
  public let name: String
  public let version: String
  /// The serialized message.
  public let value: Data

  public init(name: String, version: String, value: Data) {
    self.name = name
    self.version = version
    self.value = value
  }
}

/// One response of the control plane.
public struct DiscoveryUpdate: Hashable, Sendable {
  public let typeURL: String
  /// New and changed ones.
  public let resources: [ReceivedResource]
  /// Names of those that are gone. May name some that were never received.
  public let removed: [String]

  public init(typeURL: String, resources: [ReceivedResource], removed: [String]) {
    self.typeURL = typeURL
    self.resources = resources
    self.removed = removed
  }
}

/// The resources in force on a node, with their versions: what it resumes from.
public struct DiscoveryState: Hashable, Sendable {
  /// Type URL → name → resource.
  public private(set) var types: [String: [String: ReceivedResource]] = [:]

  public init() {}

  public var isEmpty: Bool { types.values.allSatisfy(\.isEmpty) }

  public func resources(_ typeURL: String) -> [ReceivedResource] { types[typeURL].map { Array($0.values) } ?? [] }

  public func count(_ typeURL: String) -> Int { types[typeURL]?.count ?? 0 }

  /// Name → version, for `initial_resource_versions`.
  public func versions(_ typeURL: String) -> [String: String] { types[typeURL]?.mapValues(\.version) ?? [:] }

  /// Takes an update but for the resources named: of those the last accepted version stays in force.
  public mutating func apply(_ update: DiscoveryUpdate, rejected: Set<String> = []) {
    // Taken out, so that the dictionary is changed in place.
    var held = types.removeValue(forKey: update.typeURL) ?? [:]
    for name in update.removed { held[name] = nil }
    for resource in update.resources where !rejected.contains(resource.name) { held[resource.name] = resource }
    types[update.typeURL] = held
  }

  /// Everything held of a type as one update, to start from after a restart.
  public func asUpdate(_ typeURL: String) -> DiscoveryUpdate {
    DiscoveryUpdate(typeURL: typeURL, resources: resources(typeURL), removed: [])
  }

  init(_ snapshot: Weft_Mesh_V1_SavedSnapshot) {
    for (url, saved) in snapshot.types {
      types[url] = saved.resources.reduce(into: [:]) {
        $0[$1.name] = ReceivedResource(name: $1.name, version: $1.version, value: $1.value)
      }
    }
  }

  var snapshot: Weft_Mesh_V1_SavedSnapshot {
    .with { snapshot in
      for (url, held) in types {
        snapshot.types[url] = .with { saved in
          saved.resources = held.values.map { resource in
            .with {
              $0.name = resource.name
              $0.version = resource.version
              $0.value = resource.value
            }
          }
        }
      }
    }
  }
}
