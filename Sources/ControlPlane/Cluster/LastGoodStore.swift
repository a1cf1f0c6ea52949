import KubernetesAPI
import Logging

/// Keeps the last good versions of refused objects in a ConfigMap: the leader writes it, every replica reads it, first before
/// it serves.
struct LastGoodStore: Sendable {
  static let name = "weft-last-good"
  /// Looks, a second apart, between two readings; and failures at the start before it goes without.
  private static let reading = 10
  private static let patience = 15

  private let map: SharedMap
  private let logger: Logger

  init(client: KubernetesClient, namespace: String, logger: Logger) {
    map = SharedMap(client: client, namespace: namespace, name: Self.name)
    self.logger = logger
  }

  /// Until the task is cancelled.
  /// - Parameters:
  ///   - mayGoWithout: whether nothing else is waited for at the start: rights that an older installation doesn't give, or a
  ///     server that can't tell it, then keep nobody from serving for long.
  ///   - wanted: what is to be kept, by UID; nil: not known at this moment.
  ///   - take: is given what is kept, at the beginning and where it has changed.
  func run(
    isLeader: @Sendable () -> Bool, mayGoWithout: @Sendable () -> Bool, wanted: @Sendable () -> [String: String]?,
    take: @Sendable ([String: String]) -> Void
  ) async {
    var known: [String: String]?
    var looks = 0
    var failures = 0
    var last = ""
    while !Task.isCancelled {
      var pause = 1.0
      do throws(KubernetesError) {
        if known == nil || looks % Self.reading == 0 {
          let read = try await map.read()
          if read != known { take(read) }
          known = read
        }
        if isLeader(), let before = known, let wanted = wanted() { known = try await write(wanted, over: before) }
        failures = 0
        last = ""
      } catch {
        if "\(error)" != last { logger.warning("the ConfigMap \(map.namespace)/\(map.name): \(error)") }
        last = "\(error)"
        failures += 1
        if known == nil, mayGoWithout(), failures >= Self.patience {
          logger.error("begins without the last good versions of refused objects: \(error)")
          take([:])
          known = [:]
        }
        // The start doesn't wait longer than it must.
        if known != nil { pause = min(30, Double(1 << min(failures, 5))) }
      }
      looks += 1
      try? await Task.sleep(for: .seconds(pause))
    }
  }

  private func write(_ wanted: [String: String], over known: [String: String]) async throws(KubernetesError)
    -> [String: String]
  {
    guard wanted != known else { return known }
    let gone = known.keys.filter { wanted[$0] == nil }
    try await map.write(wanted.filter { known[$0.key] != $0.value }, removing: gone, creates: !wanted.isEmpty)
    return wanted
  }
}
