import KubernetesAPI
import Logging

/// Keeps the last good versions of refused objects in a ConfigMap: the leader writes it, every replica reads it, first before
/// it serves.
struct LastGoodStore: Sendable {
  static let name = "weft-last-good"
  /// Between two looks, and between two readings. Seconds.
  private static let pause = Duration.seconds(1)
  private static let reading = 10

  private let map: SharedMap
  private let logger: Logger

  init(client: KubernetesClient, namespace: String, logger: Logger) {
    map = SharedMap(client: client, namespace: namespace, name: Self.name)
    self.logger = logger
  }

  /// Until the task is cancelled.
  /// - Parameters:
  ///   - wanted: what is to be kept, by UID.
  ///   - take: is given what is kept, at the beginning and where it has changed.
  func run(
    isLeader: @Sendable () -> Bool, wanted: @Sendable () -> [String: String],
    take: @Sendable ([String: String]) -> Void
  ) async {
    var known: [String: String]?
    var looks = 0
    var last = ""
    while !Task.isCancelled {
      do throws(KubernetesError) {
        if known == nil || looks % Self.reading == 0 {
          let read = try await self.read()
          if read != known { take(read) }
          known = read
        }
        if isLeader(), let before = known { known = try await write(wanted(), over: before) }
        last = ""
      } catch {
        if "\(error)" != last { logger.warning("the ConfigMap \(map.namespace)/\(map.name): \(error)") }
        last = "\(error)"
      }
      looks += 1
      try? await Task.sleep(for: Self.pause)
    }
  }

  /// Rights that an older installation doesn't give keep nobody from serving.
  private func read() async throws(KubernetesError) -> [String: String] {
    do throws(KubernetesError) {
      return try await map.read()
    } catch {
      guard case .refused = error else { throw error }
      logger.warning("last good versions are not kept for other replicas: \(error)")
      return [:]
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
