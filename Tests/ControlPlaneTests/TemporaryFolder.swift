import Foundation
import Glibc
import Testing

@testable import ControlPlane

/// A folder of a test's own, removed with everything in it.
final class TemporaryFolder {
  let path: String

  init() throws {
    var template = Array("/tmp/weft-control-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw ControlPlaneError("no folder for the test: errno \(errno)") }
    path = String(decoding: template.dropLast().map(UInt8.init), as: UTF8.self)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func write(_ name: String, _ text: String) throws {
    try FileManager.default.createDirectory(
      atPath: URL(filePath: "\(path)/\(name)").deletingLastPathComponent().path, withIntermediateDirectories: true)
    try Data(text.utf8).write(to: URL(filePath: "\(path)/\(name)"))
  }

  /// As editors and deployments replace a file: written beside it, moved into its place.
  func replace(_ name: String, _ text: String) throws {
    try write(".\(name).tmp", text)
    #expect(rename("\(path)/.\(name).tmp", "\(path)/\(name)") == 0)
  }

  func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: "\(path)/\(name)") }

  func link(_ name: String, to target: String) { #expect(symlink(target, "\(path)/\(name)") == 0) }
}

enum Sample {
  static func node(_ name: String) -> String {
    "apiVersion: v1\nkind: Node\nmetadata: {name: \(name)}\n"
  }

  static func pod(_ name: String, address: String = "10.0.0.1", node: String = "n1") -> String {
    """
    apiVersion: v1
    kind: Pod
    metadata: {name: \(name), namespace: shop, labels: {app: \(name), weft.dev/mesh: enabled}}
    spec: {nodeName: \(node), containers: [{name: c, image: i}]}
    status: {podIP: \(address)}

    """
  }

  static func service(_ name: String) -> String {
    """
    apiVersion: v1
    kind: Service
    metadata: {name: \(name), namespace: shop}
    spec: {clusterIP: 10.96.0.1, selector: {app: \(name)}, ports: [{port: 80}]}

    """
  }
}
