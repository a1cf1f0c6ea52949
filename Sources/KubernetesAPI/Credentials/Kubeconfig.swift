import Foundation
import Yams

/// Kubeconfig files (`kubectl`'s): clusters, users and contexts.
public struct Kubeconfig: Sendable {
  private struct File: Decodable, Sendable {
    struct Named<Value: Decodable & Sendable>: Decodable, Sendable {
      /// `cluster`, `user` or `context`.
      var kind: String
      var name: String
      var value: Value
      /// Where it stands: paths in it are relative to that file.
      var file = ""

      init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: Key.self)
        name = try fields.decode(String.self, forKey: Key("name"))
        guard let key = fields.allKeys.first(where: { ["cluster", "user", "context"].contains($0.stringValue) }) else {
          throw DecodingError.dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: "holds nothing"))
        }
        kind = key.stringValue
        value = try fields.decode(Value.self, forKey: key)
      }

      func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : URL(fileURLWithPath: file).deletingLastPathComponent().path + "/" + path
      }

      /// What stands in a field in base64, or in the file that another one names.
      func content(_ data: String?, _ path: String?) throws(KubeconfigError) -> [UInt8]? {
        if let data, !data.isEmpty {
          guard let decoded = Data(base64Encoded: data) else { throw problem("has data that isn't base64") }
          return Array(decoded)
        }
        guard let path, !path.isEmpty else { return nil }
        return try BoundedFile.read(absolute(path))
      }

      func problem(_ reason: String) -> KubeconfigError {
        KubeconfigError("\(file): \(kind) \(name.prefix(100).debugDescription) \(reason)")
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
      var proxy: String?

      enum CodingKeys: String, CodingKey {
        case server
        case authority = "certificate-authority"
        case authorityData = "certificate-authority-data"
        case serverName = "tls-server-name"
        case isUnverified = "insecure-skip-tls-verify"
        case proxy = "proxy-url"
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
      var impersonated: String?
      var impersonatedGroups: [String]?
      var impersonatedUID: String?
      var impersonatedExtra: [String: [String]]?

      enum CodingKeys: String, CodingKey {
        case token, tokenFile, exec
        case certificate = "client-certificate"
        case certificateData = "client-certificate-data"
        case key = "client-key"
        case keyData = "client-key-data"
        case impersonated = "as"
        case impersonatedGroups = "as-groups"
        case impersonatedUID = "as-uid"
        case impersonatedExtra = "as-user-extra"
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

    /// A later file changes nothing of what is there: of a name the first entry is taken, whole.
    mutating func add(_ later: File, from path: String) {
      if current?.isEmpty ?? true { current = later.current }
      clusters = (clusters ?? []) + Self.placed(later.clusters, path)
      users = (users ?? []) + Self.placed(later.users, path)
      contexts = (contexts ?? []) + Self.placed(later.contexts, path)
    }

    private static func placed<Value: Decodable & Sendable>(
      _ entries: [Named<Value>]?, _ path: String
    ) -> [Named<Value>] {
      (entries ?? []).map { entry in
        var entry = entry
        entry.file = path
        return entry
      }
    }
  }

  private static let maximumFiles = 32
  private static let maximumGroups = 64
  /// Bytes of a name that is impersonated: the server bounds a request's header as a whole.
  private static let maximumName = 1024

  /// All of them, merged.
  private var file = File()
  private let place: String

  /// - Throws: `KubeconfigError` with the path.
  public init(path: String) throws(KubeconfigError) { try self.init(paths: [path]) }

  /// Merged as kubectl does it (client-go's `ClientConfigLoadingRules.Load`): the first file that says something wins.
  /// - Throws: `KubeconfigError` with the path of what can't be read, also where it doesn't exist.
  public init(paths: [String]) throws(KubeconfigError) {
    guard paths.count <= Self.maximumFiles else {
      throw KubeconfigError(
        "$KUBECONFIG names \(paths.count) files, and at most \(Self.maximumFiles) are merged: "
          + "name one that `kubectl config view --flatten` has made of them")
    }
    place = String(paths.joined(separator: ", ").prefix(1000))
    for path in paths { file.add(try Self.read(path), from: path) }
  }

  private static func read(_ path: String) throws(KubeconfigError) -> File {
    // As kubectl takes an empty file.
    let bytes = try BoundedFile.read(path, mayBeEmpty: true)
    guard !bytes.isEmpty else { return File() }
    do {
      return try YAMLDecoder().decode(File.self, from: String(decoding: bytes, as: UTF8.self))
    } catch {
      throw KubeconfigError("\(path) is no kubeconfig: \(String(describing: error).prefix(300))")
    }
  }

  /// Each name once.
  public var contexts: [String] {
    var known: Set<String> = []
    return (file.contexts ?? []).map(\.name).filter { known.insert($0).inserted }
  }

  /// - Parameter context: empty: the current one.
  public func server(context name: String = "") throws(KubeconfigError) -> APIServer {
    let wanted = name.isEmpty ? file.current ?? "" : name
    guard let context = file.contexts?.first(where: { $0.name == wanted })?.value else {
      throw KubeconfigError(
        "\(place) has no context \(wanted.prefix(100).debugDescription): \(contexts.joined(separator: ", ").prefix(300))"
      )
    }
    guard let cluster = file.clusters?.first(where: { $0.name == context.cluster }) else {
      throw KubeconfigError("\(place) has no cluster \(context.cluster.prefix(100).debugDescription)")
    }
    var server = try server(of: cluster)
    if let namespace = context.namespace, !namespace.isEmpty { server.namespace = namespace }
    if let name = context.user {
      guard let user = file.users?.first(where: { $0.name == name }) else {
        throw KubeconfigError("\(place) has no user \(name.prefix(100).debugDescription)")
      }
      server.credential = try credential(of: user, for: server)
      server.impersonation = try impersonation(of: user)
    }
    return server
  }

  private func server(of cluster: File.Named<File.Cluster>) throws(KubeconfigError) -> APIServer {
    guard (cluster.value.proxy ?? "").isEmpty else {
      throw cluster.problem(
        "has a proxy-url, and weft uses no proxy: choose a context whose server is reached without one, such as "
          + "through a tunnel")
    }
    var server = try APIServer(url: cluster.value.server)
    server.authorities = try cluster.content(cluster.value.authorityData, cluster.value.authority) ?? []
    server.serverName = cluster.value.serverName ?? ""
    server.isUnverified = cluster.value.isUnverified ?? false
    return server
  }

  private func credential(
    of user: File.Named<File.User>, for server: APIServer
  ) throws(KubeconfigError) -> APIServer.Credential {
    if let chain = try user.content(user.value.certificateData, user.value.certificate),
      let key = try user.content(user.value.keyData, user.value.key)
    {
      return .certificate(ClientCertificate(chain: chain, key: key))
    }
    if let file = user.value.tokenFile { return .tokenFile(user.absolute(file)) }
    if let token = user.value.token { return .token(token) }
    if var plugin = user.value.exec {
      // Without a slash it is looked for in $PATH (client-go's `GetAuthInfoFileReferences`).
      if plugin.command.contains("/") { plugin.command = user.absolute(plugin.command) }
      if plugin.provideClusterInfo == true { plugin.cluster = ExecPlugin.cluster(of: server) }
      return .plugin(plugin)
    }
    return .none
  }

  /// Whoever asks for it mustn't act by the credential's own rights: what can't be sent is refused.
  private func impersonation(of user: File.Named<File.User>) throws(KubeconfigError) -> Impersonation? {
    let (name, uid) = (user.value.impersonated ?? "", user.value.impersonatedUID ?? "")
    let groups = user.value.impersonatedGroups ?? []
    guard user.value.impersonatedExtra?.isEmpty ?? true else {
      throw user.problem("has as-user-extra, which weft doesn't send: choose a context whose user has none")
    }
    guard !name.isEmpty else {
      // client-go's `validateAuthInfo` refuses it too.
      guard uid.isEmpty, groups.isEmpty else {
        throw user.problem("has as-uid or as-groups without as: name the user that these are of")
      }
      return nil
    }
    guard groups.count <= Self.maximumGroups else {
      throw user.problem("has \(groups.count) as-groups: at most \(Self.maximumGroups) are sent")
    }
    guard Self.isSendable(name), uid.isEmpty || Self.isSendable(uid), groups.allSatisfy(Self.isSendable) else {
      throw user.problem(
        "has an as, as-uid or as-groups that no header field can carry: up to \(Self.maximumName) bytes, without "
          + "control characters and without spaces around it")
    }
    return Impersonation(user: name, uid: uid, groups: groups)
  }

  /// A field's value (RFC 9110 §5.5); of spaces around it the server would see nothing, and take it for another name.
  private static func isSendable(_ name: String) -> Bool {
    let bytes = name.utf8
    return (1...maximumName).contains(bytes.count) && bytes.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
      && bytes.first != 0x20 && bytes.last != 0x20
  }
}
