import Crypto
import DiscoveryAPI
import Foundation
import Identity
import SwiftProtobuf

/// The last good state on disk, so that an agent that restarts while the control plane is away serves from it.
///
/// The file: `WEFTSNP1`, the SHA-256 of the rest, a serialized `weft.mesh.v1.SavedSnapshot`. 0600, replaced whole.
public struct SnapshotStore: Sendable {
  /// 1 GiB.
  public static let maximumBytes = 1 << 30

  public let path: String

  /// - Parameter path: a file in a directory that this program alone writes to; the directory is made.
  public init(path: String) throws(DiscoveryError) {
    self.path = path
    let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    do throws(IdentityError) {
      try SecureFile.makeDirectory(directory)
      try SecureFile.removeLeftovers(in: directory)
    } catch {
      throw Self.fileError(error)
    }
  }

  /// On an error, such as a full disk, the file that was there stays as it is.
  public func save(_ state: DiscoveryState) throws(DiscoveryError) {
    let body: [UInt8]
    do {
      body = try state.snapshot.serializedBytes()
    } catch {
      throw DiscoveryError(.invalid, "the snapshot can't be serialized: \(error)")
    }
    guard body.count <= Self.maximumBytes - Self.headerBytes else {
      throw DiscoveryError(.invalid, "the snapshot has \(body.count) bytes; at most \(Self.maximumBytes) are saved")
    }
    do throws(IdentityError) {
      try SecureFile.write([Self.magic + Array(SHA256.hash(data: body)), body], to: path, replacing: true)
    } catch {
      throw Self.fileError(error)
    }
  }

  /// Whether the mesh has changed since it was saved: said beside the file, since a large one is saved rarely.
  public var isStale: Bool { access(stalePath, F_OK) == 0 }

  /// To be called at the first change after a save. Not synced: what ends the machine ends what was served, too.
  public func markStale() {
    let marker = open(stalePath, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    if marker >= 0 { close(marker) }
  }

  /// Nothing has changed since what was saved last.
  public func clearStale() { unlink(stalePath) }

  private var stalePath: String { path + ".stale" }

  /// nil where nothing was saved. A file that is damaged throws and stays, for people to look at; the next save
  /// replaces it.
  public func load() throws(DiscoveryError) -> DiscoveryState? {
    let bytes: [UInt8]
    do throws(IdentityError) {
      guard let read = try SecureFile.read(path, maximumBytes: Self.maximumBytes, isPrivate: true) else { return nil }
      bytes = read
    } catch {
      throw Self.fileError(error)
    }
    guard bytes.count >= Self.headerBytes, bytes.starts(with: Self.magic) else {
      throw DiscoveryError(.damaged, "\(path) is not a saved snapshot; it is ignored and will be replaced")
    }
    let body = bytes[Self.headerBytes...]
    guard SHA256.hash(data: body).elementsEqual(bytes[Self.magic.count..<Self.headerBytes]),
      let snapshot = try? Weft_Mesh_V1_SavedSnapshot(serializedBytes: Array(body))
    else {
      throw DiscoveryError(.damaged, "\(path) is damaged (its checksum differs); it is ignored and will be replaced")
    }
    return DiscoveryState(snapshot)
  }

  private static let magic = Array("WEFTSNP1".utf8)
  private static let headerBytes = magic.count + 32

  private static func fileError(_ error: IdentityError) -> DiscoveryError {
    if case .file(let code) = error.kind { return DiscoveryError(.file(code), error.description) }
    return DiscoveryError(.damaged, error.description)
  }
}
