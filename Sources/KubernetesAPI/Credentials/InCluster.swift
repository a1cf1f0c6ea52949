import Foundation

extension APIServer {
  /// As a pod finds it: Kubernetes' variables and the ServiceAccount's mounted folder.
  /// - Throws: `KubeconfigError` where this is no pod, or its account isn't mounted.
  public static func inCluster(
    environment: [String: String] = ProcessInfo.processInfo.environment,
    account: String = "/var/run/secrets/kubernetes.io/serviceaccount"
  ) throws(KubeconfigError) -> APIServer {
    guard let host = environment["KUBERNETES_SERVICE_HOST"], let port = environment["KUBERNETES_SERVICE_PORT"],
      !host.isEmpty, UInt16(port) != nil
    else { throw KubeconfigError("KUBERNETES_SERVICE_HOST and _PORT aren't set: this is no pod") }
    var server = try APIServer(url: "https://\(host.contains(":") ? "[\(host)]" : host):\(port)")
    server.authorities = try BoundedFile.read("\(account)/ca.crt")
    guard FileManager.default.isReadableFile(atPath: "\(account)/token") else {
      throw KubeconfigError("\(account)/token can't be read: mount the ServiceAccount's token")
    }
    server.credential = .tokenFile("\(account)/token")
    if let namespace = try? BoundedFile.read("\(account)/namespace") {
      server.namespace = String(decoding: namespace, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }
    return server
  }
}

/// Files that others write.
enum BoundedFile {
  static let maximumBytes = 1 << 20

  /// - Parameter mayBeEmpty: a token or certificate may not: its file is being written, and it would stand for none.
  static func read(_ path: String, mayBeEmpty: Bool = false) throws(KubeconfigError) -> [UInt8] {
    guard let handle = FileHandle(forReadingAtPath: path) else { throw KubeconfigError("\(path) can't be opened") }
    defer { try? handle.close() }
    let data: Data
    do { data = try handle.read(upToCount: maximumBytes + 1) ?? Data() } catch {
      throw KubeconfigError("\(path) can't be read")
    }
    guard mayBeEmpty || !data.isEmpty else { throw KubeconfigError("\(path) is empty") }
    guard data.count <= maximumBytes else { throw KubeconfigError("\(path) has more than 1 MiB") }
    return Array(data)
  }
}
