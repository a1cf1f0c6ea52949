import KubernetesAPI
import Logging

/// Follows all kinds of an API server, each in a task of its own.
struct KubernetesSource: Sendable {
  /// So many times in a row, `ReflectorState.missingPause` apart, a kind that was there is unknown: then it is removed.
  private static let missesOfRemoved = 3

  private let client: KubernetesClient
  private let logger: Logger

  init(client: KubernetesClient, logger: Logger) {
    self.client = client
    self.logger = logger
  }

  enum News: Sendable {
    case part(ReflectorState.Part)
    case change(ReflectorState.Change)
  }

  /// Until the task is cancelled.
  /// - Parameter tell: of one kind never twice at once.
  func run(_ tell: @escaping @Sendable (News, Kind) async -> Void) async {
    await withTaskGroup(of: Void.self) { group in
      for kind in Kind.allCases { group.addTask { await follow(kind, tell) } }
    }
  }

  private func follow(_ kind: Kind, _ tell: @escaping @Sendable (News, Kind) async -> Void) async {
    var misses = 0
    var wasTold = false
    while !Task.isCancelled {
      guard let resource = await known(kind) else {
        misses += 1
        // Without its definition there are none. A server that has just started may not know its definitions yet: what
        // was told before holds a while.
        if kind.isCustom, !wasTold || misses >= Self.missesOfRemoved { await tell(.change(.all([])), kind) }
        try? await Task.sleep(for: .milliseconds(ReflectorState.missingPause))
        continue
      }
      let reflector = Reflector(resource, client: client, reading: kind.selection, logger: logger)
      await reflector.run(
        part: { part in
          misses = 0
          wasTold = true
          await tell(.part(part), kind)
        }
      ) { news in
        switch news {
        case .change(let change): await tell(.change(change), kind)
        case .missing: return false
        case .failed: break
        }
        return true
      }
      // The kind is gone, or its list is where its definition isn't: not asked for without end.
      try? await Task.sleep(for: .milliseconds(ReflectorState.missingPause))
    }
  }

  /// The newest version that the server knows; nil: none. Waits for a server that doesn't answer.
  private func known(_ kind: Kind) async -> KubernetesResource? {
    var pause = 100
    while !Task.isCancelled {
      do throws(KubernetesError) {
        for resource in kind.resources where try await client.knows(resource) { return resource }
        return nil
      } catch {
        logger.warning("\(kind.rawValue): \(error)")
        if case .throttled(let seconds) = error { pause = max(pause, 1000 * seconds) }
        try? await Task.sleep(for: .milliseconds(pause + Int.random(in: 0...pause / 2)))
        pause = min(2 * pause, ReflectorState.longestPause)
      }
    }
    return nil
  }
}
