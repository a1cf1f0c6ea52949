import MeshModel

/// The filters of a rule or a backend. One that Weft lacks rejects the whole route: to leave it out would be to let
/// pass what it changes or forbids.
struct RouteFilterDecoder {
  let kind: Route.Kind
  let namespace: String

  static let maximumFilters = 16

  func decode(
    _ field: Field?, matches: [RouteMatch], rejection: inout Finding?
  ) throws(ConfigProblem) -> [RouteFilter] {
    var filters: [RouteFilter] = []
    var seen: Set<String> = []
    for field in try field?.list(upTo: Self.maximumFilters) ?? [] {
      let fields = try field.fields(Schemas.filter)
      let typeField = try fields.required("type")
      let type = try typeField.text()
      guard let name = Self.names[type] else {
        throw typeField.expected("one of \(Self.names.keys.sorted().joined(separator: ", "))")
      }
      for other in Self.names.values where other != name {
        if let field = fields[other] { throw field.problem("does not belong to a filter of the type \(type)") }
      }
      guard Self.repeatable.contains(type) || seen.insert(type).inserted else {
        throw typeField.problem("\(type) stands twice")
      }
      if let filter = try decode(type, try fields.required(name), matches) {
        filters.append(filter)
      } else {
        rejection = rejection ?? Finding("UnsupportedValue", "filters of the type \(type) are not supported")
      }
    }
    if filters.contains(where: \.isRedirect), filters.contains(where: \.isRewrite) {
      rejection = rejection ?? Finding("IncompatibleFilters", "RequestRedirect and URLRewrite stand beside each other")
    }
    return filters
  }

  private static let names = [
    "RequestHeaderModifier": "requestHeaderModifier", "ResponseHeaderModifier": "responseHeaderModifier",
    "RequestMirror": "requestMirror", "RequestRedirect": "requestRedirect", "URLRewrite": "urlRewrite",
    "CORS": "cors", "ExtensionRef": "extensionRef", "ExternalAuth": "externalAuth",
  ]
  private static let repeatable: Set<String> = ["RequestMirror", "ExtensionRef"]

  /// nil: no such filter in Weft.
  private func decode(_ type: String, _ field: Field, _ matches: [RouteMatch]) throws(ConfigProblem) -> RouteFilter? {
    switch type {
    case "RequestHeaderModifier": return .requestHeaders(try headerEdit(field))
    case "ResponseHeaderModifier": return .responseHeaders(try headerEdit(field))
    case "RequestMirror": return .mirror(try mirror(field))
    case "RequestRedirect" where kind == .http: return .redirect(try redirect(field, matches))
    case "URLRewrite" where kind == .http:
      let fields = try field.fields(Schemas.rewrite)
      return .rewrite(
        Rewrite(
          hostname: try fields["hostname"]?.hostname(wildcard: false) ?? "",
          path: try pathModifier(fields["path"], matches)))
    case "CORS" where kind == .http: return .cors(try CORSDecoder.decode(field))
    default: return nil
    }
  }

  private func headerEdit(_ field: Field) throws(ConfigProblem) -> HeaderEdit {
    let fields = try field.fields(Schemas.headerEdit)
    var edit = HeaderEdit()
    edit.set = try headers(fields["set"])
    edit.add = try headers(fields["add"])
    for field in try fields["remove"]?.list(upTo: 16) ?? [] { edit.remove.append(try field.token()) }
    return edit
  }

  private func headers(_ field: Field?) throws(ConfigProblem) -> [HeaderEdit.Field] {
    var headers: [HeaderEdit.Field] = []
    for field in try field?.list(upTo: 16) ?? [] {
      let fields = try field.fields(Schemas.headerField)
      let name = try fields.required("name").token()
      let value = try fields.required("value").line(1...4096)
      guard !headers.contains(where: { $0.name.lowercased() == name.lowercased() }) else { continue }
      headers.append(HeaderEdit.Field(name: name, value: value))
    }
    return headers
  }

  private func redirect(_ field: Field, _ matches: [RouteMatch]) throws(ConfigProblem) -> Redirect {
    let fields = try field.fields(Schemas.redirect)
    var redirect = Redirect()
    redirect.scheme = try fields["scheme"]?.choice(["http": "http", "https": "https"]) ?? ""
    redirect.hostname = try fields["hostname"]?.hostname(wildcard: false) ?? ""
    redirect.port = try fields["port"]?.port()
    redirect.path = try pathModifier(fields["path"], matches)
    if let status = fields["statusCode"] {
      redirect.status = Int(try status.number(300...399))
      guard [301, 302, 303, 307, 308].contains(redirect.status) else {
        throw status.expected("one of 301, 302, 303, 307, 308")
      }
    }
    return redirect
  }

  private func pathModifier(_ field: Field?, _ matches: [RouteMatch]) throws(ConfigProblem) -> PathModifier? {
    guard let field else { return nil }
    let fields = try field.fields(Schemas.pathModifier)
    let isFull = try fields.required("type").choice(["ReplaceFullPath": true, "ReplacePrefixMatch": false])
    let (name, other) =
      isFull ? ("replaceFullPath", "replacePrefixMatch") : ("replacePrefixMatch", "replaceFullPath")
    if let field = fields[other] { throw field.problem("does not belong to this type") }
    let value = try fields.required(name).line(0...1024)
    if isFull { return .replaceFull(value) }
    guard matches.count == 1, case .prefix = matches[0].path else {
      throw field.problem("ReplacePrefixMatch needs a rule with exactly one match, by PathPrefix")
    }
    return .replacePrefix(value)
  }

  private func mirror(_ field: Field) throws(ConfigProblem) -> Mirror {
    let fields = try field.fields(Schemas.mirror)
    let ref = try fields.required("backendRef").fields(Schemas.objectRef)
    let (service, port, invalid) = try ServiceReference.decode(ref, in: namespace)
    var mirror = Mirror(service: service, port: port, invalid: invalid)
    if let percent = fields["percent"] {
      guard fields["fraction"] == nil else { throw percent.problem("stands beside a fraction; one of both is allowed") }
      mirror.numerator = try percent.number(0...100)
    } else if let field = fields["fraction"] {
      let fraction = try field.fields(Schemas.fraction)
      mirror.denominator = try fraction["denominator"]?.number(1...UInt32(Int32.max)) ?? 100
      mirror.numerator = try fraction.required("numerator").number(0...mirror.denominator)
    }
    return mirror
  }
}

enum CORSDecoder {
  static func decode(_ field: Field) throws(ConfigProblem) -> CORS {
    let fields = try field.fields(Schemas.cors)
    var cors = CORS()
    for field in try fields["allowOrigins"]?.list(upTo: 64) ?? [] { cors.allowOrigins.append(try origin(field)) }
    cors.allowCredentials = try fields["allowCredentials"]?.truth() ?? false
    cors.allowMethods = try tokens(fields["allowMethods"])
    cors.allowHeaders = try tokens(fields["allowHeaders"])
    cors.exposeHeaders = try tokens(fields["exposeHeaders"])
    cors.maxAge = try fields["maxAge"]?.number(1...UInt32(Int32.max)) ?? 5
    return cors
  }

  /// `*`, or `scheme://host[:port]` whose host may begin with `*.`.
  private static func origin(_ field: Field) throws(ConfigProblem) -> String {
    let text = try field.line(1...253)
    if text == "*" { return text }
    let parts = text.split(separator: "://", omittingEmptySubsequences: false)
    guard parts.count == 2, !parts[0].isEmpty, parts[0].utf8.allSatisfy(HTTPToken.isTokenCharacter) else {
      throw field.expected("* or an origin such as https://example.com")
    }
    let authority = parts[1].split(separator: ":", omittingEmptySubsequences: false)
    let host = authority[0].hasPrefix("*.") ? authority[0].dropFirst(2) : authority[0]
    guard authority[0] == "*" || DNSName.isSubdomain(host), authority.count <= 2,
      authority.count == 1 || UInt16(authority[1]).map({ $0 > 0 }) == true
    else { throw field.expected("* or an origin such as https://example.com") }
    return text
  }

  private static func tokens(_ field: Field?) throws(ConfigProblem) -> [String] {
    var tokens: [String] = []
    for field in try field?.list(upTo: 64) ?? [] { tokens.append(try field.token()) }
    return tokens
  }
}
