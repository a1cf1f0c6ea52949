import Discovery
import Foundation

/// What a replica that doesn't lead tells of its nodes, as a text of bounded size.
struct ReplicaReport: Codable, Hashable, Sendable {
  /// Of one type of resources.
  struct Kind: Codable, Hashable, Sendable {
    /// Of what the replica holds, in hexadecimal.
    var digest: String
    var streams: Int
    /// By name: on how many streams it isn't in force yet.
    var pending: [String: Int] = [:]
    var refused: [String: [Refusal]] = [:]
    /// Not all names are told.
    var isCut = false
  }

  struct Refusal: Codable, Hashable, Sendable {
    var node: String
    var reason: String
  }

  /// Of each type; a name has 512 bytes at most.
  static let maximumNames = 32
  /// Of each resource; a status names no more.
  static let maximumNodes = 4
  /// Bytes.
  static let maximumReason = 256
  static let maximumText = 256 << 10

  /// Grows while the replica lives.
  var beat = 0
  /// By type URL.
  var kinds: [String: Kind]

  init(_ report: DeliveryReport) {
    kinds = report.digests.mapValues { Kind(digest: String($0, radix: 16), streams: 0) }
    for (url, count) in report.streams { kinds[url]?.streams = count }
    for (key, count) in report.pending.sorted(by: { $0.key.name < $1.key.name }) {
      guard var kind = kinds[key.typeURL] else { continue }
      if kind.pending.count < Self.maximumNames { kind.pending[key.name] = count } else { kind.isCut = true }
      kinds[key.typeURL] = kind
    }
    for (key, rejections) in report.rejected.sorted(by: { $0.key.name < $1.key.name }) {
      guard var kind = kinds[key.typeURL] else { continue }
      if kind.refused.count < Self.maximumNames {
        kind.refused[key.name] = rejections.prefix(Self.maximumNodes).map {
          Refusal(node: $0.node, reason: String(decoding: $0.reason.utf8.prefix(Self.maximumReason), as: UTF8.self))
        }
      } else {
        kind.isCut = true
      }
      kinds[key.typeURL] = kind
    }
  }

  // MARK: As a text

  /// Without its names where they were too long together.
  var text: String {
    let whole = encoded
    guard whole.utf8.count > Self.maximumText else { return whole }
    var short = self
    short.kinds = kinds.mapValues { Kind(digest: $0.digest, streams: $0.streams, isCut: true) }
    return short.encoded
  }

  private var encoded: String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    // Strings and numbers alone always encode.
    return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? ""
  }

  /// - Returns: nil: none of this version.
  init?(text: String) {
    guard text.utf8.count <= Self.maximumText, let read = try? JSONDecoder().decode(Self.self, from: Data(text.utf8))
    else { return nil }
    self = read
  }

  /// Whether it says the same, whenever it was told.
  func isSame(as other: ReplicaReport) -> Bool { kinds == other.kinds }
}

extension DeliveryReport {
  /// All nodes', where the other replicas hold what this one does; where one doesn't, the type is unsettled.
  func joined(_ others: [ReplicaReport]) -> DeliveryReport {
    var all = self
    for other in others {
      for (url, digest) in digests {
        guard let kind = other.kinds[url], kind.digest == String(digest, radix: 16) else {
          all.unsettled.insert(url)
          continue
        }
        if kind.isCut { all.unsettled.insert(url) }
        if kind.streams > 0 { all.streams[url, default: 0] += kind.streams }
        for (name, count) in kind.pending { all.pending[ResourceKey(typeURL: url, name: name), default: 0] += count }
        for (name, refusals) in kind.refused {
          all.rejected[ResourceKey(typeURL: url, name: name), default: []] += refusals.map {
            Rejection(node: $0.node, reason: $0.reason)
          }
        }
      }
    }
    for key in Array(all.rejected.keys) { all.rejected[key]?.sort { $0.node < $1.node } }
    return all
  }
}
