import Discovery
import Foundation

/// What a replica tells of its nodes, as a text of bounded size.
struct ReplicaReport: Codable, Hashable, Sendable {
  /// Of one type of resources.
  struct Kind: Codable, Hashable, Sendable {
    /// Of what the replica holds, in hexadecimal.
    var digest: String
    var streams: Int
    /// By name: on how many streams it isn't in force yet.
    var pending: [String: Int] = [:]
    var refused: [String: [Refusal]] = [:]
    /// Of names that sort after it nothing is told; nil: all is.
    var toldTo: String?
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
  /// Of as many replicas as a leader reads, a ConfigMap holds these texts.
  static let maximumText = 48 << 10

  /// Grows while the replica lives.
  var beat = 0
  /// By type URL.
  var kinds: [String: Kind]

  init(_ report: DeliveryReport) {
    kinds = report.digests.mapValues { Kind(digest: String($0, radix: 16), streams: 0) }
    for (url, count) in report.streams { kinds[url]?.streams = count }
    let keys = Set(report.pending.keys).union(report.rejected.keys).sorted { $0.name < $1.name }
    var told: [String: [String]] = [:]
    for key in keys {
      guard told[key.typeURL, default: []].count < Self.maximumNames else {
        kinds[key.typeURL]?.toldTo = told[key.typeURL]?.last
        continue
      }
      told[key.typeURL, default: []].append(key.name)
      kinds[key.typeURL]?.pending[key.name] = report.pending[key]
      kinds[key.typeURL]?.refused[key.name] = report.rejected[key]?.prefix(Self.maximumNodes).map {
        Refusal(node: $0.node, reason: String(decoding: $0.reason.utf8.prefix(Self.maximumReason), as: UTF8.self))
      }
    }
  }

  // MARK: As a text

  /// Without its names where they were too long together.
  var text: String {
    let whole = encoded
    guard whole.utf8.count > Self.maximumText else { return whole }
    var short = self
    short.kinds = kinds.mapValues { Kind(digest: $0.digest, streams: $0.streams, toldTo: "") }
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
  /// - Parameter others: nil: one that doesn't tell.
  func joined(_ others: [ReplicaReport?]) -> DeliveryReport {
    var all = self
    for other in others {
      for (url, digest) in digests {
        guard let kind = other?.kinds[url], kind.digest == String(digest, radix: 16) else {
          all.unsettle(url)
          continue
        }
        if let name = kind.toldTo { all.unsettle(url, after: name) }
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
