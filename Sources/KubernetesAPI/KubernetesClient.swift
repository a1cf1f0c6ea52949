import AsyncHTTPClient
import FoundationEssentials
import NIOCore
import NIOHTTP1
import NIOSSL

/// Requests to an API server over async-http-client. Each throws a `KubernetesError`.
public final class KubernetesClient: Sendable {
  /// Of a list's page: 500 Pods are about 5 MiB.
  static let maximumPage = 64 << 20
  private static let pageSize = 500
  /// A watch is asked to end after so many seconds.
  private static let watchSeconds = 300
  /// A connection that says nothing for so long may be dead: servers of today send a bookmark each minute.
  static let silence = TimeAmount.seconds(150)

  public let server: APIServer
  private let base: String
  private let http: HTTPClient
  private let tokens: TokenSource

  /// - Throws: `KubeconfigError` where a certificate or key can't be read.
  public convenience init(_ server: APIServer) throws(KubeconfigError) {
    try self.init(server, silence: Self.silence)
  }

  /// - Parameter silence: see `KubernetesClient.silence`.
  init(_ server: APIServer, silence: TimeAmount) throws(KubeconfigError) {
    self.server = server
    tokens = TokenSource(server.credential)
    var configuration = HTTPClient.Configuration()
    configuration.tlsConfiguration = try Self.tls(server, server.credential.certificate)
    configuration.timeout.connect = .seconds(10)
    configuration.timeout.read = silence
    configuration.redirectConfiguration = .disallow
    // Each watch has a connection of its own: one of HTTP/2 for all would outlive the timeouts of its streams, and a server
    // that has lost its power would be waited for until TCP gives up.
    configuration.httpVersion = .http1Only
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 64
    (base, configuration.dnsOverride) = Self.base(server)
    http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }

  /// The URL that is asked, and where its host is: with `tls-server-name` the certificate is another name's than the
  /// address's.
  static func base(_ server: APIServer) -> (url: String, override: [String: String]) {
    guard !server.serverName.isEmpty, var parts = URLComponents(string: server.url), let host = parts.host else {
      return (server.url, [:])
    }
    parts.host = server.serverName
    let address = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
    return parts.string.map { ($0, [server.serverName: address]) } ?? (server.url, [:])
  }

  static func tls(
    _ server: APIServer, _ certificate: ClientCertificate?
  ) throws(KubeconfigError) -> TLSConfiguration {
    var tls = TLSConfiguration.makeClientConfiguration()
    do {
      if !server.authorities.isEmpty {
        tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(server.authorities))
      }
      if server.isUnverified { tls.certificateVerification = .none }
      if let certificate {
        tls.certificateChain = try NIOSSLCertificate.fromPEMBytes(certificate.chain).map { .certificate($0) }
        tls.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: certificate.key, format: .pem))
      }
    } catch {
      throw KubeconfigError("a certificate or key for \(server.url) can't be read: \(error)")
    }
    return tls
  }

  public func shutdown() async { try? await http.shutdown() }

  // MARK: Reading

  /// As `document`, with the server's clock as it answers (`Date`, RFC 9110 §6.6.1); nil: it tells none.
  public func datedDocument(_ path: String) async throws(KubernetesError) -> (content: JSONNode, date: Date?) {
    let response = try await get(path, timeout: .seconds(30))
    let date = response.headers.first(name: "date").flatMap(HTTPDate.read)
    return (try await json(of: response), date)
  }

  /// Whether the server has a kind in that version.
  public func knows(_ resource: KubernetesResource) async throws(KubernetesError) -> Bool {
    let path = resource.group.isEmpty ? "/api/\(resource.version)" : "/apis/\(resource.group)/\(resource.version)"
    do throws(KubernetesError) {
      return try await exchange(.GET, path)["resources"]?.elements.contains { $0["name"]?.text == resource.plural }
        == true
    } catch {
      if case .notFound = error { return false }
      throw error
    }
  }

  /// - Parameters:
  ///   - continuing: of the page before; empty: the first.
  ///   - selection: what of each object is read.
  public func page(
    _ resource: KubernetesResource, continuing: String = "", reading selection: JSONSelection = .all
  ) async throws(KubernetesError) -> ObjectPage {
    var path = "\(resource.path())?limit=\(Self.pageSize)"
    if !continuing.isEmpty { path += "&continue=\(Self.escaped(continuing))" }
    return try ObjectPage(body: try await body(of: try await get(path, timeout: .seconds(60))), reading: selection)
  }

  /// The version of the newest state of a kind's objects.
  func newestVersion(_ resource: KubernetesResource) async throws(KubernetesError) -> String {
    let body = try await body(of: try await get("\(resource.path())?limit=1", timeout: .seconds(60)))
    return try ObjectPage(body: body, reading: .all).resourceVersion
  }

  /// Calls `event` for each event until the server ends the watch, or says nothing for `silence`. Cancelling the task ends it too.
  public func watch(
    _ resource: KubernetesResource, from version: String, reading selection: JSONSelection = .all,
    event: (WatchEvent) async throws(KubernetesError) -> Void
  ) async throws(KubernetesError) {
    let path =
      "\(resource.path())?watch=1&allowWatchBookmarks=true&resourceVersion=\(Self.escaped(version))"
      + "&timeoutSeconds=\(Self.watchSeconds)"
    let response = try await get(path, timeout: .hours(1))
    var splitter = LineSplitter()
    do {
      for try await buffer in response.body {
        for line in try splitter.lines(in: buffer.readableBytesView) {
          try await event(try WatchEvent(line: line, reading: selection))
        }
      }
    } catch let error as KubernetesError {
      throw error
    } catch let error as HTTPClientError where error == .readTimeout {
      // Older servers are silent where nothing changes: it has ended, and the next one shows whether the server is there.
    } catch {
      throw .unreachable("the watch broke: \(error)")
    }
  }

  // MARK: HTTP

  /// Who asks: of every request's header, `exec`'s too. Blocks for a plugin's run.
  func callerFields() throws(KubernetesError) -> HTTPHeaders {
    var fields: HTTPHeaders = ["user-agent": "weft"]
    if let token = try tokens.token() { fields.add(name: "authorization", value: "Bearer \(token)") }
    if let impersonation = server.impersonation { fields.add(contentsOf: impersonation.fields) }
    return fields
  }

  /// With the client's certificate of now. Blocks for a plugin's run.
  func tlsConfiguration() throws(KubernetesError) -> TLSConfiguration {
    try tlsConfiguration(try tokens.certificate())
  }

  private func tlsConfiguration(_ certificate: ClientCertificate?) throws(KubernetesError) -> TLSConfiguration {
    do { return try Self.tls(server, certificate) } catch { throw .refused(401, "\(error)") }
  }

  /// The server has refused the last one.
  func forgetToken() { tokens.forget() }

  /// - Parameters:
  ///   - path: with its query.
  ///   - type: of the body.
  func exchange(
    _ method: HTTPMethod, _ path: String, body content: JSONNode? = nil, type: String = "application/json"
  ) async throws(KubernetesError) -> JSONNode {
    var request = HTTPClientRequest(url: base + path)
    request.method = method
    if let content {
      request.headers.add(name: "content-type", value: type)
      request.body = .bytes(content.bytes)
    }
    return try await json(of: try await send(request, timeout: .seconds(30)))
  }

  private func json(of response: HTTPClientResponse) async throws(KubernetesError) -> JSONNode {
    let bytes = try await body(of: response)
    do {
      return try JSONReader.read(bytes, skipping: KubernetesObject.skipped)
    } catch {
      throw .malformed("\(error)")
    }
  }

  private func get(_ path: String, timeout: TimeAmount) async throws(KubernetesError) -> HTTPClientResponse {
    try await send(HTTPClientRequest(url: base + path), timeout: timeout)
  }

  private func send(
    _ request: HTTPClientRequest, timeout: TimeAmount
  ) async throws(KubernetesError) -> HTTPClientResponse {
    var request = request
    request.headers.add(name: "accept", value: "application/json")
    request.headers.add(contentsOf: try callerFields())
    // Others' is that of all connections.
    if case .plugin = server.credential, let certificate = try tokens.certificate() {
      request.tlsConfiguration = try tlsConfiguration(certificate)
    }
    let response: HTTPClientResponse
    do {
      response = try await http.execute(request, timeout: timeout)
    } catch {
      throw .unreachable("\(error)")
    }
    guard !(200...299).contains(response.status.code) else { return response }
    if response.status == .unauthorized { tokens.forget() }
    let bytes = (try? await response.body.collect(upTo: 64 << 10)).map { Array($0.readableBytesView) } ?? []
    throw KubernetesError(
      status: Int(response.status.code), body: bytes,
      retryAfter: response.headers.first(name: "retry-after").flatMap { Int($0) })
  }

  private func body(of response: HTTPClientResponse) async throws(KubernetesError) -> [UInt8] {
    do {
      return Array(try await response.body.collect(upTo: Self.maximumPage).readableBytesView)
    } catch {
      throw .unreachable("the answer broke off, or has more than \(Self.maximumPage >> 20) MiB: \(error)")
    }
  }

  /// For a query (RFC 3986 §2.3: unreserved characters stay).
  static func escaped(_ text: String) -> String {
    var escaped = ""
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
        UInt8(ascii: "~"):
        escaped.unicodeScalars.append(Unicode.Scalar(byte))
      default:
        let digits = String(byte, radix: 16, uppercase: true)
        escaped += digits.count == 1 ? "%0\(digits)" : "%\(digits)"
      }
    }
    return escaped
  }
}
