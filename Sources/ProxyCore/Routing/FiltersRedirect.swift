import MeshModel

/// Answers by a redirection (Gateway API HTTPRequestRedirectFilter, RFC 9110 §15.4). The request's query stays.
public struct RedirectFilter: Sendable {
  public let status: Int
  private let scheme: [UInt8]
  private let hostname: [UInt8]
  private let port: UInt16?
  private let path: PathReplacement?

  public init(_ redirect: Redirect) throws(FilterError) {
    guard ["", "http", "https"].contains(redirect.scheme) else {
      throw FilterError(description: "\"\(redirect.scheme)\" isn't a scheme to redirect to")
    }
    guard HTTPToken.isHostname(redirect.hostname.utf8) else {
      throw FilterError(description: "\"\(redirect.hostname)\" isn't a host's name")
    }
    guard [301, 302, 303, 307, 308].contains(redirect.status) else {
      throw FilterError(description: "\(redirect.status) isn't a status of a redirection")
    }
    status = redirect.status
    scheme = Array(redirect.scheme.utf8)
    hostname = Array(redirect.hostname.utf8)
    port = redirect.port
    if let modifier = redirect.path { path = try PathReplacement(modifier) } else { path = nil }
  }

  /// Writes the status and the `location` field.
  /// - Parameters:
  ///   - matchedPrefix: `RouteTable.Found.matchedPrefix`
  ///   - isSecure: whether the request came by TLS, where it doesn't say its scheme.
  ///   - listenerPort: the Service's port that the client went to.
  public func respond(
    to request: HTTPHead, matchedPrefix: Int, isSecure: Bool = false, listenerPort: UInt16,
    into response: inout HTTPHead
  ) {
    var location: [UInt8] = []
    location.reserveCapacity(64 + Int(request.authority.count) + Int(request.path.count))
    let host = request.bytes.withUnsafeBytes { HostName.portless(in: $0, request.authority.range) }
    // A request of HTTP/1.0 may have no host: the location is then relative.
    if !hostname.isEmpty || !host.isEmpty {
      let isHTTPS = scheme.isEmpty ? isSecure || request.equals(request.scheme, "https") : scheme.count == 5
      location += isHTTPS ? "https://".utf8 : "http://".utf8
      if hostname.isEmpty { location += request.bytes[host] } else { location += hostname }
      let wellKnown: UInt16 = isHTTPS ? 443 : 80
      let port = port ?? (scheme.isEmpty ? listenerPort : wellKnown)
      if port != wellKnown { location += ":\(port)".utf8 }
    }
    let pathStart = location.count
    if let path {
      path.write(request, matchedPrefix: matchedPrefix, to: &location)
    } else {
      location += request.bytes[request.path.range]
    }
    if location.count == pathStart || location[pathStart] != UInt8(ascii: "/") {
      location.insert(UInt8(ascii: "/"), at: pathStart)
    }
    if pathStart == 0 {
      // `//name` would be another host's (RFC 3986 §4.2).
      while location.count > 1, location[1] == UInt8(ascii: "/") { location.remove(at: 1) }
    }
    response.setStatus(status)
    response.append(name: "location".utf8, value: location)
  }
}
