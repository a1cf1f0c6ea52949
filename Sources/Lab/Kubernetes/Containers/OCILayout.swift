import Crypto
import Foundation
import KubernetesAPI

/// An image of an OCI layout (image-spec, "Image Layout Specification"), unpacked.
struct OCIImage: Codable, Sendable, Equatable {
  /// The folder that a container's root is laid over.
  var root: String
  var entryPoint: [String]
  var command: [String]
  var environment: [String]
  var directory: String
  /// `UID` or `UID:GID`; a name is looked up nowhere.
  var user: String

  /// By the rules of Kubernetes: `command` replaces the entry point and the image's arguments, `args` only these.
  func arguments(command: [String], args: [String]) -> [String] {
    if !command.isEmpty { return command + args }
    return entryPoint + (args.isEmpty ? self.command : args)
  }

  /// nil where the image names none by number.
  var userNumbers: (user: UInt32, group: UInt32)? {
    let parts = user.split(separator: ":").map { UInt32($0) }
    guard let first = parts.first, let user = first else { return nil }
    return (user, parts.count > 1 ? parts[1] ?? 0 : 0)
  }
}

/// Reads and unpacks the images of a folder.
struct OCILayout {
  let folder: String

  private static let maximumImages = 64
  private static let maximumDocument = 4 << 20
  private static let maximumLayer = 1 << 30

  /// Unpacks every image below `target`.
  /// - Returns: by the name that the index gives each.
  /// - Throws: `LabError` naming the file that is missing, too large, or not what its digest says.
  func unpack(to target: String) throws -> [String: OCIImage] {
    var images: [String: OCIImage] = [:]
    for entry in try document("index.json")["manifests"]?.elements ?? [] {
      let annotations = entry["annotations"]
      let name = annotations?["io.containerd.image.name"] ?? annotations?["org.opencontainers.image.ref.name"]
      guard let name = name?.text else { continue }
      guard images.count < Self.maximumImages else {
        throw LabError("\(folder): more than \(Self.maximumImages) images")
      }
      images[name] = try image(entry, to: "\(target)/\(images.count)")
    }
    guard !images.isEmpty else { throw LabError("\(folder)/index.json: names no image") }
    return images
  }

  private func image(_ descriptor: JSONNode, to root: String) throws -> OCIImage {
    var manifest = try blob(descriptor)
    // An index of platforms: the first, as there is one where images are built for this machine.
    if let first = manifest["manifests"]?.elements.first { manifest = try blob(first) }
    guard let reference = manifest["config"] else { throw LabError("\(folder): a manifest without a config") }
    let config = try blob(reference)["config"]
    try Files.makeFolder(root)
    for layer in manifest["layers"]?.elements ?? [] {
      let path = try checked(layer, limit: Self.maximumLayer)
      try Tool.run("tar", ["--extract", "--file", path, "--directory", root, "--numeric-owner"])
      try removeWhiteouts(root)
    }
    return OCIImage(
      root: root, entryPoint: config?["Entrypoint"]?.strings ?? [], command: config?["Cmd"]?.strings ?? [],
      environment: config?["Env"]?.strings ?? [], directory: config?["WorkingDir"]?.text ?? "",
      user: config?["User"]?.text ?? "")
  }

  /// What a layer says to be gone is (image-spec, "Whiteouts").
  private func removeWhiteouts(_ root: String) throws {
    guard let paths = FileManager.default.enumerator(atPath: root) else { return }
    for case let path as String in paths {
      let name = path.split(separator: "/").last.map(String.init) ?? path
      guard name.hasPrefix(".wh.") else { continue }
      let parent = String(path.dropLast(name.count))
      if name != ".wh..wh..opq" { try Files.removeTree("\(root)/\(parent)\(name.dropFirst(4))") }
      try Files.removeTree("\(root)/\(path)")
    }
  }

  private func blob(_ descriptor: JSONNode) throws -> JSONNode {
    let path = try checked(descriptor, limit: Self.maximumDocument)
    return try document(String(path.dropFirst(folder.count + 1)))
  }

  private func document(_ name: String) throws -> JSONNode {
    let path = "\(folder)/\(name)"
    guard let text = Files.text(path, limit: Self.maximumDocument) else {
      throw LabError("\(path): can't be read; --images takes the folder of an OCI layout")
    }
    do {
      return try JSONReader.read(Array(text.utf8))
    } catch {
      throw LabError("\(path): is no JSON: \(error)")
    }
  }

  /// The blob's path, its content being what the digest says.
  private func checked(_ descriptor: JSONNode, limit: Int) throws -> String {
    let digest = descriptor["digest"]?.text ?? ""
    let parts = digest.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2, parts[0] == "sha256", parts[1].count == 64, parts[1].allSatisfy(\.isHexDigit) else {
      throw LabError("\(folder): \(digest.prefix(100).debugDescription) is no SHA-256 digest")
    }
    let path = "\(folder)/blobs/sha256/\(parts[1])"
    var info = stat()
    guard stat(path, &info) == 0, info.st_size <= limit,
      let content = try? Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe)
    else { throw LabError("\(path): isn't there, or is larger than \(limit >> 20) MiB") }
    let hex = SHA256.hash(data: content).map { byte in
      let text = String(byte, radix: 16)
      return text.count == 1 ? "0\(text)" : text
    }.joined()
    guard hex == parts[1] else { throw LabError("\(path): isn't what its digest says") }
    return path
  }
}
