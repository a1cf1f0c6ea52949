import MeshModel

/// The filters of a rule and its backends. One that can't be carried out rejects the whole route: to leave it out would
/// be to let pass what it changes or forbids.
struct RouteFilterDecoder {
  private let kind: Route.Kind
  private let namespace: String
  /// Of the rule.
  private let matches: [RouteMatch]
  /// Why the route can't be accepted; the first of several reasons.
  private(set) var rejection: Finding?

  static let maximumFilters = 16

  init(_ kind: Route.Kind, namespace: String, matches: [RouteMatch]) {
    self.kind = kind
    self.namespace = namespace
    self.matches = matches
  }

  /// - Parameter rule: the filters of the rule to whose backend `field` belongs; nil: it is the rule's own.
  mutating func decode(_ field: Field?, under rule: [RouteFilter]? = nil) throws(ConfigProblem) -> [RouteFilter] {
    guard let list = field else { return [] }
    var filters: [RouteFilter] = []
    var seen: Set<String> = []
    for field in try list.list(upTo: Self.maximumFilters) {
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
      let filter = try decode(type, try fields.required(name))
      if let filter { filters.append(filter) }
      if filter == nil {
        reject("UnsupportedValue", typeField, "filters of the type \(type) are not supported")
      } else if rule != nil, Self.answering.contains(type) {
        // At this level support is the implementation's to define.
        reject("UnsupportedValue", typeField, "\(type) is not supported on a backend: it answers before one is chosen")
      }
    }
    if filters.contains(where: \.isRedirect), filters.contains(where: \.isRewrite) {
      reject("IncompatibleFilters", list, "RequestRedirect and URLRewrite stand beside each other")
    }
    if rule?.contains(where: \.rewritesPath) == true, filters.contains(where: \.replacesPrefix) {
      reject("IncompatibleFilters", list, "the rule's URLRewrite has replaced the path, and with it the matched prefix")
    }
    return filters
  }

  private mutating func reject(_ reason: String, _ field: Field, _ why: String) {
    rejection = rejection ?? Finding(reason, "\(field.problem(why).field): \(why)")
  }

  private static let names = [
    "RequestHeaderModifier": "requestHeaderModifier", "ResponseHeaderModifier": "responseHeaderModifier",
    "RequestMirror": "requestMirror", "RequestRedirect": "requestRedirect", "URLRewrite": "urlRewrite",
    "CORS": "cors", "ExtensionRef": "extensionRef", "ExternalAuth": "externalAuth",
  ]
  private static let repeatable: Set<String> = ["RequestMirror", "ExtensionRef"]
  /// These may answer a request themselves.
  private static let answering: Set<String> = ["RequestRedirect", "CORS"]

  /// nil: no such filter in Weft.
  private mutating func decode(_ type: String, _ field: Field) throws(ConfigProblem) -> RouteFilter? {
    switch type {
    case "RequestHeaderModifier": return .requestHeaders(try headerEdit(field))
    case "ResponseHeaderModifier": return .responseHeaders(try headerEdit(field))
    case "RequestMirror": return .mirror(try mirror(field))
    case "RequestRedirect" where kind == .http: return .redirect(try redirect(field))
    case "URLRewrite" where kind == .http:
      let fields = try field.fields(Schemas.rewrite)
      return .rewrite(
        Rewrite(
          hostname: try fields["hostname"]?.hostname(wildcard: false) ?? "",
          path: try pathModifier(fields["path"])))
    case "CORS" where kind == .http: return .cors(try cors(field))
    default: return nil
    }
  }

  private mutating func headerEdit(_ field: Field) throws(ConfigProblem) -> HeaderEdit {
    let fields = try field.fields(Schemas.headerEdit)
    var edit = HeaderEdit()
    edit.set = try headers(fields["set"])
    edit.add = try headers(fields["add"])
    for field in try fields["remove"]?.list(upTo: 16) ?? [] { edit.remove.append(try headerName(field)) }
    return edit
  }

  private mutating func headers(_ field: Field?) throws(ConfigProblem) -> [HeaderEdit.Field] {
    var headers: [HeaderEdit.Field] = []
    for field in try field?.list(upTo: 16) ?? [] {
      let fields = try field.fields(Schemas.headerField)
      let name = try headerName(try fields.required("name"))
      let value = try fields.required("value").line(1...4096)
      guard !headers.contains(where: { $0.name.lowercased() == name.lowercased() }) else { continue }
      headers.append(HeaderEdit.Field(name: name, value: value))
    }
    return headers
  }

  private mutating func headerName(_ field: Field) throws(ConfigProblem) -> String {
    let name = try field.token()
    if let problem = HeaderEdit.problem(withName: name) { reject("UnsupportedValue", field, problem) }
    return name
  }

  private mutating func redirect(_ field: Field) throws(ConfigProblem) -> Redirect {
    let fields = try field.fields(Schemas.redirect)
    var redirect = Redirect()
    redirect.scheme = try fields["scheme"]?.choice(["http": "http", "https": "https"]) ?? ""
    redirect.hostname = try fields["hostname"]?.hostname(wildcard: false) ?? ""
    redirect.port = try fields["port"]?.port()
    redirect.path = try pathModifier(fields["path"])
    if let status = fields["statusCode"] {
      redirect.status = Int(try status.number(300...399))
      guard [301, 302, 303, 307, 308].contains(redirect.status) else {
        throw status.expected("one of 301, 302, 303, 307, 308")
      }
    }
    return redirect
  }

  private mutating func pathModifier(_ field: Field?) throws(ConfigProblem) -> PathModifier? {
    guard let field else { return nil }
    let fields = try field.fields(Schemas.pathModifier)
    let isFull = try fields.required("type").choice(["ReplaceFullPath": true, "ReplacePrefixMatch": false])
    let (name, other) =
      isFull ? ("replaceFullPath", "replacePrefixMatch") : ("replacePrefixMatch", "replaceFullPath")
    if let field = fields[other] { throw field.problem("does not belong to this type") }
    let valueField = try fields.required(name)
    let value = try valueField.line(0...1024)
    let modifier: PathModifier = isFull ? .replaceFull(value) : .replacePrefix(value)
    if let problem = modifier.problem { reject("UnsupportedValue", valueField, problem) }
    if isFull { return modifier }
    guard matches.count == 1, case .prefix = matches[0].path else {
      throw field.problem("ReplacePrefixMatch needs a rule with exactly one match, by PathPrefix")
    }
    return modifier
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

  private mutating func cors(_ field: Field) throws(ConfigProblem) -> CORS {
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

  /// Up to v1.4 the CRD lets any absolute URI pass.
  private mutating func origin(_ field: Field) throws(ConfigProblem) -> String {
    let text = try field.line(1...253)
    guard let problem = CORS.problem(withOrigin: text) else { return text }
    guard text.contains("://") else { throw field.expected("* or an origin such as https://example.com") }
    reject("UnsupportedValue", field, problem)
    return text
  }

  private func tokens(_ field: Field?) throws(ConfigProblem) -> [String] {
    var tokens: [String] = []
    for field in try field?.list(upTo: 64) ?? [] { tokens.append(try field.token()) }
    return tokens
  }
}

extension RouteFilter {
  var isRedirect: Bool { if case .redirect = self { true } else { false } }
  var isRewrite: Bool { if case .rewrite = self { true } else { false } }
  fileprivate var rewritesPath: Bool { if case .rewrite(let rewrite) = self { rewrite.path != nil } else { false } }

  fileprivate var replacesPrefix: Bool {
    guard case .rewrite(let rewrite) = self, case .replacePrefix? = rewrite.path else { return false }
    return true
  }
}
