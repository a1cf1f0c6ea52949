import Discovery
import Foundation
import Identity
import MeshModel

/// The certificates of this node's workloads: which are needed, which are held, and when each is renewed.
struct Identities {
  struct Entry {
    var held: HeldIdentity?
    var schedule: RotationSchedule
  }

  private(set) var entries: [SPIFFEID: Entry] = [:]
  private var stored: [SPIFFEID: HeldIdentity] = [:]
  private var random = SystemRandomNumberGenerator()

  /// What an agent before this one left on disk.
  mutating func restore(_ identities: [HeldIdentity]) {
    for identity in identities {
      if case .workload(let id) = identity.subject { stored[id] = identity }
    }
  }

  func held(_ id: SPIFFEID) -> HeldIdentity? { entries[id]?.held }

  /// Sets which identities are needed.
  /// - Returns: those that came from disk and are to be used, and those that are needed no more.
  mutating func need(_ ids: Set<SPIFFEID>, now: Date) -> (restored: [HeldIdentity], dropped: [SPIFFEID]) {
    let dropped = entries.keys.filter { !ids.contains($0) }
    for id in dropped { entries[id] = nil }
    var restored: [HeldIdentity] = []
    for id in ids where entries[id] == nil {
      var entry = Entry(held: nil, schedule: RotationSchedule(now: now))
      if let known = stored[id], known.certificate.notAfter > now {
        entry.held = known
        entry.schedule.succeeded(known.certificate, now: now, using: &random)
        restored.append(known)
      }
      entries[id] = entry
    }
    return (restored, dropped)
  }

  /// Those to be asked for now; they count as being asked from here.
  mutating func due(now: Date) -> [SPIFFEID] {
    let due = entries.filter { $0.value.schedule.isDue(now: now) }.map(\.key)
    for id in due { entries[id]?.schedule.began() }
    return due
  }

  mutating func succeeded(_ identity: HeldIdentity, for id: SPIFFEID) {
    entries[id]?.held = identity
    entries[id]?.schedule.succeeded(identity.certificate, now: Date(), using: &random)
    stored[id] = identity
  }

  mutating func failed(_ reason: String, for id: SPIFFEID, now: Date) {
    entries[id]?.schedule.failed(reason, now: now, using: &random)
  }

  /// Those that are held serve until others have come; what is on disk is of no use any more.
  mutating func renewAll(now: Date) {
    stored = [:]
    for id in Array(entries.keys) { entries[id]?.schedule = RotationSchedule(now: now) }
  }

  /// The control plane is there again: what waits for a retry is asked for at once.
  mutating func retry(now: Date) {
    for id in Array(entries.keys) { entries[id]?.schedule.retry(now: now) }
  }
}
