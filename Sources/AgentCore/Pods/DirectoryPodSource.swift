import Foundation
import MeshModel

/// Pods from a folder of JSON files, one a pod, each written by rename. The folder is looked at ten times a second: only
/// its entries' names and times are read, and files only where these changed.
public struct DirectoryPodSource: PodSource {
  private static let interval = Duration.milliseconds(100)
  private static let fileBound = 64 << 10
  private static let podsBound = 1000

  private let directory: String

  public init(directory: String) { self.directory = directory }

  public func events() -> AsyncStream<PodEvent> {
    AsyncStream { continuation in
      let task = Task {
        var scan = Scan(directory: directory)
        var isFirst = true
        while !Task.isCancelled {
          for event in scan.changes() { continuation.yield(event) }
          if isFirst { continuation.yield(.synchronized) }
          isFirst = false
          try? await Task.sleep(for: Self.interval)
        }
        continuation.finish()
      }
      continuation.onTermination = { _ in task.cancel() }
    }
  }

  /// What was seen last.
  struct Scan {
    private struct Entry {
      var stamp: Stamp
      var uid: String?
    }

    private struct Stamp: Equatable {
      var inode: UInt64
      var size: UInt64
      var modified: Date
    }

    let directory: String
    private var entries: [String: Entry] = [:]
    private var lastProblem = ""

    init(directory: String) { self.directory = directory }

    mutating func changes() -> [PodEvent] {
      let manager = FileManager.default
      let names: [String]
      do {
        names = try manager.contentsOfDirectory(atPath: directory).filter { $0.hasSuffix(".json") }.sorted()
      } catch {
        return problem("the pods folder \(directory) can't be read: \(error.localizedDescription)")
      }
      guard names.count <= DirectoryPodSource.podsBound else {
        return problem("the pods folder \(directory) holds \(names.count) files; at most \(DirectoryPodSource.podsBound)")
      }
      var events: [PodEvent] = []
      var gone = entries
      for name in names {
        let path = "\(directory)/\(name)"
        guard let stamp = Self.stamp(path) else { continue }
        gone[name] = nil
        guard entries[name]?.stamp != stamp else { continue }
        do throws(PodFileError) {
          let sandbox = try Self.read(path)
          if let old = entries[name]?.uid, old != sandbox.uid { events.append(.vanished(uid: old)) }
          entries[name] = Entry(stamp: stamp, uid: sandbox.uid)
          events.append(.appeared(sandbox))
        } catch {
          // What was known of this pod stays.
          entries[name] = Entry(stamp: stamp, uid: entries[name]?.uid)
          events.append(.problem("\(path): \(error.description)"))
        }
      }
      for (name, entry) in gone {
        entries[name] = nil
        if let uid = entry.uid { events.append(.vanished(uid: uid)) }
      }
      return events
    }

    private mutating func problem(_ text: String) -> [PodEvent] {
      defer { lastProblem = text }
      return text == lastProblem ? [] : [.problem(text)]
    }

    private static func stamp(_ path: String) -> Stamp? {
      guard let attributes = try? FileManager.default.attributesOfItem(atPath: path),
        attributes[.type] as? FileAttributeType == .typeRegular,
        let inode = attributes[.systemFileNumber] as? UInt64 ?? (attributes[.systemFileNumber] as? Int).map(UInt64.init),
        let size = attributes[.size] as? UInt64 ?? (attributes[.size] as? Int).map(UInt64.init),
        let modified = attributes[.modificationDate] as? Date
      else { return nil }
      return Stamp(inode: inode, size: size, modified: modified)
    }

    private struct File: Decodable {
      var uid: String
      var namespace: String
      var name: String
      var netns: String
      var cgroup: String?
      var addresses: [String]
    }

    static func read(_ path: String) throws(PodFileError) -> PodSandbox {
      guard let data = FileManager.default.contents(atPath: path) else { throw PodFileError("can't be read") }
      guard data.count <= DirectoryPodSource.fileBound else {
        throw PodFileError("\(data.count) bytes; at most \(DirectoryPodSource.fileBound)")
      }
      let file: File
      do {
        file = try JSONDecoder().decode(File.self, from: data)
      } catch let error as DecodingError {
        throw PodFileError(error)
      } catch {
        throw PodFileError("\(error)")
      }
      guard (1...253).contains(file.uid.utf8.count) else { throw PodFileError("uid: must have 1 to 253 bytes") }
      guard file.netns.hasPrefix("/") else { throw PodFileError("netns: \"\(file.netns)\" is not an absolute path") }
      guard (1...8).contains(file.addresses.count) else { throw PodFileError("addresses: must be 1 to 8") }
      var addresses: [IPAddress] = []
      for text in file.addresses {
        guard let address = IPAddress(text) else { throw PodFileError("addresses: \"\(text)\" is not an IP address") }
        addresses.append(address)
      }
      return PodSandbox(
        uid: file.uid, namespace: file.namespace, name: file.name, networkNamespace: file.netns,
        cgroup: file.cgroup ?? "", addresses: addresses)
    }
  }
}

struct PodFileError: Error {
  let description: String

  init(_ description: String) { self.description = description }

  init(_ error: DecodingError) {
    let (context, what): (DecodingError.Context, String) =
      switch error {
      case .keyNotFound(let key, let context): (context, "\(key.stringValue) is missing")
      case .typeMismatch(let type, let context), .valueNotFound(let type, let context): (context, "should be \(type)")
      case .dataCorrupted(let context): (context, "is not JSON")
      @unknown default: (DecodingError.Context(codingPath: [], debugDescription: ""), "can't be decoded")
      }
    let path = context.codingPath.map(\.stringValue).joined(separator: ".")
    description = path.isEmpty ? what : "\(path): \(what)"
  }
}
