import MeshModel

/// The CORS protocol (Fetch standard §3.2) as the Gateway API's HTTPCORSFilter says it. A preflight is always answered
/// here, by 204; where its origin isn't allowed without fields that would allow anything.
public struct CORSFilter: Sendable {
  private let origins: [CORSOrigin]
  private let takesAnyOrigin: Bool
  private let allowCredentials: Bool
  private let methods: [UInt8]
  private let headers: [UInt8]
  private let exposed: [UInt8]
  private let maxAge: [UInt8]

  public init(_ cors: CORS) throws(FilterError) {
    var origins: [CORSOrigin] = []
    for text in cors.allowOrigins where text != "*" {
      if let problem = CORS.problem(withOrigin: text) { throw FilterError(description: problem) }
      if let origin = CORSOrigin(pattern: text) { origins.append(origin) }
    }
    for name in cors.allowMethods + cors.allowHeaders + cors.exposeHeaders where !HTTPToken.isToken(name) {
      throw FilterError(description: "\"\(name)\" isn't the name of a method or a header")
    }
    self.origins = origins
    takesAnyOrigin = cors.allowOrigins.contains("*")
    allowCredentials = cors.allowCredentials
    methods = Array(cors.allowMethods.joined(separator: ", ").utf8)
    headers = Array(cors.allowHeaders.joined(separator: ", ").utf8)
    // With credentials `*` would be a header of that name (Fetch §3.2.5).
    let names = cors.allowCredentials ? cors.exposeHeaders.filter { $0 != "*" } : cors.exposeHeaders
    exposed = Array(names.joined(separator: ", ").utf8)
    maxAge = Array("\(cors.maxAge)".utf8)
  }

  /// A request that asks whether another may be made: answered here, not by the backend (Fetch §3.2.2).
  public func isPreflight(_ request: HTTPHead) -> Bool {
    request.equals(request.method, "OPTIONS") && request.first("origin") != nil
      && request.first("access-control-request-method") != nil
  }

  /// Writes the status and the fields of a preflight's answer.
  public func respond(toPreflight request: HTTPHead, into response: inout HTTPHead) {
    response.setStatus(204)
    vary(&response)
    guard let origin = allowedOrigin(of: request) else { return }
    allow(origin, of: request, in: &response)
    put("access-control-allow-methods", methods, echoing: "access-control-request-method", of: request, in: &response)
    put("access-control-allow-headers", headers, echoing: "access-control-request-headers", of: request, in: &response)
    response.put("access-control-max-age", maxAge)
  }

  /// Adds the fields of any other request's response, in place of those that the backend may have written.
  public func apply(toResponse response: inout HTTPHead, of request: HTTPHead) {
    vary(&response)
    guard let origin = allowedOrigin(of: request) else { return }
    allow(origin, of: request, in: &response)
    if !exposed.isEmpty { response.put("access-control-expose-headers", exposed) }
  }

  /// The origin's field; nil where there is none or it isn't allowed.
  private func allowedOrigin(of request: HTTPHead) -> HTTPHead.Slice? {
    guard let origin = request.first("origin") else { return nil }
    if takesAnyOrigin { return origin }
    let isAllowed = request.withBytes(of: origin) { bytes in origins.contains { $0.takes(bytes) } }
    return isAllowed ? origin : nil
  }

  private func allow(_ origin: HTTPHead.Slice, of request: HTTPHead, in response: inout HTTPHead) {
    if takesAnyOrigin, !allowCredentials {
      response.put("access-control-allow-origin", [UInt8(ascii: "*")])
    } else {
      response.put("access-control-allow-origin", Array(request.bytes[origin.range]))
    }
    if allowCredentials {
      response.put("access-control-allow-credentials", Array("true".utf8))
    } else {
      response.remove("access-control-allow-credentials".utf8)
    }
  }

  /// With credentials a `*` isn't allowed to stand in the answer: what was asked for does.
  private func put(
    _ name: StaticString, _ allowed: [UInt8], echoing asked: StaticString, of request: HTTPHead,
    in response: inout HTTPHead
  ) {
    guard !allowed.isEmpty else { return }
    guard allowCredentials, allowed == [UInt8(ascii: "*")] else { return response.put(name, allowed) }
    if let slice = request.first(asked) { response.put(name, Array(request.bytes[slice.range])) }
  }

  /// A cache must tell origins apart where the answer does (Fetch §3.2.6).
  private func vary(_ response: inout HTTPHead) {
    guard !takesAnyOrigin || allowCredentials else { return }
    var next = response.index(of: "vary")
    while let index = next {
      if response.text(response.fields[index].value).lowercased().split(separator: ",").contains(where: {
        $0.drop { $0 == " " } == "origin"
      }) {
        return
      }
      next = response.index(of: "vary", from: index + 1)
    }
    response.append(name: "vary".utf8, value: "Origin".utf8)
  }
}

extension HTTPHead {
  /// Replaces the fields of that name, which has to be lower case.
  fileprivate mutating func put(_ name: StaticString, _ value: [UInt8]) {
    let bytes = UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
    remove(bytes)
    append(name: bytes, value: value)
  }
}
