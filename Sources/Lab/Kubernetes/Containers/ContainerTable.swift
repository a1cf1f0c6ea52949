import Foundation
import Synchronization

/// The containers of all nodes: where their logs are and how a command runs inside one. Also the lab's record of its pods.
final class ContainerTable: Sendable {
  struct Entry: Sendable {
    var node: String
    var pod: PodName
    var uid: String
    var container: String
    var id: String
    /// nil: it has ended.
    var process: ProcessRecord?
    var launch: ContainerLaunch
    var log: String
    /// Of the run before; nil: there was none.
    var previousLog: String?
  }

  private struct State {
    var entries: [String: [Entry]] = [:]
    var records: [String: LabState.Pod] = [:]
  }

  private let state = Mutex(State())
  private let path: String

  init(path: String) { self.path = path }

  /// - Parameter container: nil: the only one, or the first.
  /// - Returns: nil where there is none such.
  func find(node: String, pod: PodName, container: String?) -> Entry? {
    state.withLock { state in
      state.entries.values.lazy.compactMap { list in
        list.first { $0.node == node && $0.pod == pod && (container == nil || $0.container == container) }
      }.first
    }
  }

  /// Runs a command inside a running container.
  /// - Returns: its pid, of a child of this process: `ChildExit.end(of:)` tells how it ends.
  static func execute(
    _ command: [String], in entry: Entry, _ streams: ContainerLaunch.Streams
  ) async throws -> Int32 {
    guard let process = entry.process else { throw LabError("container \(entry.container) doesn't run") }
    return try await Blocking.run { try entry.launch.execute(command, in: process, streams) }
  }

  func set(_ entry: Entry) {
    state.withLock { state in
      var list = state.entries[entry.uid] ?? []
      if let index = list.firstIndex(where: { $0.container == entry.container }) {
        list[index] = entry
      } else {
        list.append(entry)
      }
      state.entries[entry.uid] = list
      if let process = entry.process {
        state.records[entry.uid]?.containers.removeAll { $0.name == entry.container }
        state.records[entry.uid]?.containers.append(LabState.Container(name: entry.container, process: process))
      }
      save(&state)
    }
  }

  func ended(uid: String, container: String) {
    state.withLock { state in
      if let index = state.entries[uid]?.firstIndex(where: { $0.container == container }) {
        state.entries[uid]?[index].process = nil
      }
    }
  }

  func set(_ record: LabState.Pod, uid: String) {
    state.withLock { state in
      state.records[uid] = record
      save(&state)
    }
  }

  func remove(uid: String) {
    state.withLock { state in
      state.entries[uid] = nil
      state.records[uid] = nil
      save(&state)
    }
  }

  private func save(_ state: inout State) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(state.records.values.sorted { $0.id < $1.id }) else { return }
    // The record is for `weft-lab list` and its like: the pods don't depend on it.
    try? Files.writeAtomically([UInt8](data), to: path)
  }
}
