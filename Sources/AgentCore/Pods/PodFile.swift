import Foundation
import MeshModel

/// One pod's file: `{"uid","namespace","name","netns","cgroup","addresses"}`, at most 64 KiB; `cgroup` may be absent.
struct PodFile: Decodable {
  static let bound = 64 << 10

  var uid: String
  var namespace: String
  var name: String
  var netns: String
  var cgroup: String?
  var addresses: [String]

  static func read(_ path: String) throws(PodFileError) -> PodSandbox {
    guard let handle = FileHandle(forReadingAtPath: path) else { throw PodFileError("can't be read") }
    defer { try? handle.close() }
    let data: Data
    do {
      data = try handle.read(upToCount: bound + 1) ?? Data()
    } catch {
      throw PodFileError("can't be read: \(error.localizedDescription)")
    }
    guard data.count <= bound else { throw PodFileError("longer than it may be; at most \(bound) bytes") }
    do {
      return try JSONDecoder().decode(PodFile.self, from: data).sandbox()
    } catch let error as DecodingError {
      throw PodFileError(error)
    } catch let error as PodFileError {
      throw error
    } catch {
      throw PodFileError("\(error)")
    }
  }

  private func sandbox() throws(PodFileError) -> PodSandbox {
    guard DNSName.isLabel(namespace) else { throw PodFileError("namespace: \"\(namespace)\" is not a DNS label") }
    guard DNSName.isSubdomain(name) else { throw PodFileError("name: \"\(name)\" is not a DNS name") }
    guard uid == "\(namespace)/\(name)" else { throw PodFileError("uid: must be \(namespace)/\(name), not \"\(uid)\"") }
    guard netns.hasPrefix("/") else { throw PodFileError("netns: \"\(netns)\" is not an absolute path") }
    guard (1...8).contains(addresses.count) else { throw PodFileError("addresses: must be 1 to 8") }
    var parsed: [IPAddress] = []
    for text in addresses {
      guard let address = IPAddress(text) else { throw PodFileError("addresses: \"\(text)\" is not an IP address") }
      parsed.append(address)
    }
    return PodSandbox(
      uid: uid, namespace: namespace, name: name, networkNamespace: netns, cgroup: cgroup ?? "", addresses: parsed)
  }
}

/// Why a pod's file can't be used: the field and what is wrong with it.
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
