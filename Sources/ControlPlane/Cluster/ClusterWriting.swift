import Synchronization

/// What writes to the API server, once there is something to serve.
final class ClusterWriting: Sendable {
  private struct Parts: Sendable {
    var leadership: Leadership
    var writer: StatusWriter
    var recorder: EventRecorder
  }

  private let parts = Mutex<Parts?>(nil)

  func use(_ leadership: Leadership, _ writer: StatusWriter, _ recorder: EventRecorder) {
    parts.withLock { $0 = Parts(leadership: leadership, writer: writer, recorder: recorder) }
  }

  var isLeader: Bool { parts.withLock { $0 }?.leadership.isLeader ?? false }

  /// This replica leads, or does no more.
  func leads(_ mesh: MeshState) {
    guard let parts = parts.withLock({ $0 }) else { return }
    parts.writer.touch()
    guard parts.leadership.isLeader else { return }
    for (key, reason) in mesh.refused { EventText(refused: key, reason).map(parts.recorder.record) }
  }

  /// Statuses may be others now.
  func touch() { parts.withLock { $0 }?.writer.touch() }

  /// Objects have changed.
  func took(_ outcome: MeshState.Outcome, _ mesh: MeshState) {
    guard let parts = parts.withLock({ $0 }) else { return }
    if outcome.touchesStatus { parts.writer.touch() }
    guard parts.leadership.isLeader else { return }
    for (key, reason) in outcome.refused { EventText(refused: key, reason).map(parts.recorder.record) }
  }
}
