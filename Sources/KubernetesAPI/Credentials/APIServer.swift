/// Where an API server is and how one proves oneself to it: from a kubeconfig, or as a pod.
public struct APIServer: Sendable {
  public enum Credential: Sendable {
    case none
    case token(String)
    /// Read again whenever the file changes: the kubelet replaces it.
    case tokenFile(String)
    case certificate(ClientCertificate)
    case plugin(ExecPlugin)

    /// A plugin's isn't known before it is asked.
    var certificate: ClientCertificate? {
      if case .certificate(let certificate) = self { certificate } else { nil }
    }
  }

  /// `https://host:port`, perhaps with a path; without a slash at the end.
  public var url: String
  /// PEM of the CAs; empty: the system's.
  public var authorities: [UInt8] = []
  /// The name in the server's certificate; empty: the URL's host.
  public var serverName = ""
  /// `insecure-skip-tls-verify`
  public var isUnverified = false
  public var credential = Credential.none
  /// nil: requests are the credential's own.
  public var impersonation: Impersonation?
  /// Where objects are meant that say none.
  public var namespace = "default"

  public init(url: String) throws(KubeconfigError) {
    guard url.hasPrefix("https://") || url.hasPrefix("http://"), url.utf8.count <= 2048, !url.contains(" ") else {
      throw KubeconfigError("the server \(url.prefix(100).debugDescription) is no http(s) URL")
    }
    self.url = url.hasSuffix("/") ? String(url.dropLast()) : url
  }
}

/// What a client proves itself by in the TLS handshake; PEM.
public struct ClientCertificate: Hashable, Sendable {
  public var chain: [UInt8]
  public var key: [UInt8]
}

/// As whom one acts (Kubernetes' user impersonation): the server asks whether the credential's own user may.
public struct Impersonation: Hashable, Sendable {
  public var user: String
  /// Empty: none is said.
  public var uid = ""
  public var groups: [String] = []

  /// Of each request's header.
  var fields: [(String, String)] {
    var fields = [("impersonate-user", user)]
    if !uid.isEmpty { fields.append(("impersonate-uid", uid)) }
    for group in groups { fields.append(("impersonate-group", group)) }
    return fields
  }
}

/// A configuration that can't be used, in one sentence.
public struct KubeconfigError: Error, Hashable, Sendable, CustomStringConvertible {
  public var description: String

  init(_ description: String) { self.description = description }
}
