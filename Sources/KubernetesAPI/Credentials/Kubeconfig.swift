import Foundation
import Yams

/// A kubeconfig file (`kubectl`'s): clusters, users and contexts.
public struct Kubeconfig: Sendable {
  private struct File: Decodable, Sendable {
    struct Named<Value: Decodable & Sendable>: Decodable, Sendable {
      var name: String
      var value: Value

      init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: Key.self)
        name = try fields.decode(String.self, forKey: Key("name"))
        guard let key = fields.allKeys.first(where: { ["cluster", "user", "context"].contains($0.stringValue) }) else {
          throw DecodingError.dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: "holds nothing"))
        }
        value = try fields.decode(Value.self, forKey: key)
      }
    }

    struct Key: CodingKey {
      var stringValue: String
      var intValue: Int? { nil }
      init(_ name: String) { stringValue = name }
      init?(stringValue: String) { self.stringValue = stringValue }
      init?(intValue: Int) { nil }
    }

    struct Cluster: Decodable, Sendable {
      var server: String
      var authority: String?
      var authorityData: String?
      var serverName: String?
      var isUnverified: Bool?

      enum CodingKeys: String, CodingKey {
        case server
        case authority = "certificate-authority"
        case authorityData = "certificate-authority-data"
        case serverName = "tls-server-name"
        case isUnverified = "insecure-skip-tls-verify"
      }
    }

    struct User: Decodable, Sendable {
      var token: String?
      var tokenFile: String?
      var certificate: String?
      var certificateData: String?
      var key: String?
      var keyData: String?
      var exec: ExecPlugin?

      enum CodingKeys: String, CodingKey {
        case token, tokenFile, exec
        case certificate = "client-certificate"
        case certificateData = "client-certificate-data"
        case key = "client-key"
        case keyData = "client-key-data"
      }
    }

    struct Context: Decodable, Sendable {
      var cluster: String
      var user: String?
      var namespace: String?
    }

    var current: String?
    var clusters: [Named<Cluster>]?
    var users: [Named<User>]?
    var contexts: [Named<Context>]?

    enum CodingKeys: String, CodingKey {
      case clusters, users, contexts
      case current = "current-context"
    }
  }

  private let file: File
  private let path: String

  /// - Throws: `KubeconfigError` with the path.
  public init(path: String) throws(KubeconfigError) {
    let bytes = try BoundedFile.read(path)
    do {
      file = try YAMLDecoder().decode(File.self, from: String(decoding: bytes, as: UTF8.self))
    } catch {
      throw KubeconfigError("\(path) is no kubeconfig: \(String(describing: error).prefix(300))")
    }
    self.path = path
  }

  public var contexts: [String] { (file.contexts ?? []).map(\.name) }

  /// - Parameter context: empty: the current one.
  public func server(context name: String = "") throws(KubeconfigError) -> APIServer {
    let wanted = name.isEmpty ? file.current ?? "" : name
    guard let context = file.contexts?.first(where: { $0.name == wanted })?.value else {
      throw KubeconfigError(
        "\(path) has no context \(wanted.prefix(100).debugDescription): \(contexts.joined(separator: ", ").prefix(300))"
      )
    }
    guard let cluster = file.clusters?.first(where: { $0.name == context.cluster })?.value else {
      throw KubeconfigError("\(path) has no cluster \(context.cluster.prefix(100).debugDescription)")
    }
    var server = try APIServer(url: cluster.server)
    server.authorities = try content(cluster.authorityData, cluster.authority) ?? []
    server.serverName = cluster.serverName ?? ""
    server.isUnverified = cluster.isUnverified ?? false
    if let namespace = context.namespace, !namespace.isEmpty { server.namespace = namespace }
    if let name = context.user {
      guard let user = file.users?.first(where: { $0.name == name })?.value else {
        throw KubeconfigError("\(path) has no user \(name.prefix(100).debugDescription)")
      }
      server.credential = try credential(of: user)
    }
    return server
  }

  private func credential(of user: File.User) throws(KubeconfigError) -> APIServer.Credential {
    if let chain = try content(user.certificateData, user.certificate), let key = try content(user.keyData, user.key) {
      return .certificate(ClientCertificate(chain: chain, key: key))
    }
    if let file = user.tokenFile { return .tokenFile(absolute(file)) }
    if let token = user.token { return .token(token) }
    if let plugin = user.exec { return .plugin(plugin) }
    return .none
  }

  private func content(_ data: String?, _ path: String?) throws(KubeconfigError) -> [UInt8]? {
    if let data, !data.isEmpty {
      guard let decoded = Data(base64Encoded: data) else {
        throw KubeconfigError("\(self.path): data that isn't base64")
      }
      return Array(decoded)
    }
    guard let path, !path.isEmpty else { return nil }
    return try BoundedFile.read(absolute(path))
  }

  /// Paths are relative to the file.
  private func absolute(_ path: String) -> String {
    path.hasPrefix("/") ? path : URL(fileURLWithPath: self.path).deletingLastPathComponent().path + "/" + path
  }
}
