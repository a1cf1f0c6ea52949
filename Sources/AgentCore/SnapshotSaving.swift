import Discovery
import Dispatch

/// When the mesh's state is written to disk: within a second of a change, and not while it's changing; a large one, whose saving
/// takes long, so much later that saving takes a fiftieth of the time. Pure: the time is passed in (monotonic nanoseconds).
struct SnapshotSaving: Sendable {
  private static let delay: UInt64 = 500_000_000
  /// The state takes an update after its handler has returned.
  private static let settling: UInt64 = 200_000_000
  private static let retry: UInt64 = 5_000_000_000
  private static let share: UInt64 = 50
  private static let longest: UInt64 = 120_000_000_000

  private(set) var isDirty = false
  private var dueAt: UInt64 = 0
  private var lastChange: UInt64 = 0
  private var isSaving = false
  private var beganAt: UInt64 = 0
  /// Nanoseconds from a change on.
  private var wait = Self.delay

  mutating func changed(now: UInt64) {
    lastChange = now
    guard !isDirty else { return }
    isDirty = true
    dueAt = now + wait
  }

  func isDue(_ now: UInt64) -> Bool { isDirty && !isSaving && now >= dueAt }

  mutating func began(now: UInt64) {
    beganAt = now
    isSaving = true
    isDirty = false
  }

  mutating func ended(_ succeeded: Bool, now: UInt64) {
    isSaving = false
    wait = min(max(Self.delay, (now - beganAt) * Self.share), Self.longest)
    if !succeeded {
      isDirty = true
      dueAt = now + Self.retry
    } else if now - lastChange < Self.settling {
      // It may have been read a moment too early.
      isDirty = true
      dueAt = now + wait
    }
  }
}

extension SnapshotStore {
  /// Saving syncs to disk, which a thread of the pool mustn't wait for.
  func saveOffPool(_ state: DiscoveryState) async -> Result<Void, any Error> {
    await withCheckedContinuation { continuation in
      DispatchQueue.global().async { continuation.resume(returning: Result { try self.save(state) }) }
    }
  }
}
