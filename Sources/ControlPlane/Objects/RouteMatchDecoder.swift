import MeshModel

/// A match of an HTTPRoute or a GRPCRoute.
struct RouteMatchDecoder {
  let field: Field

  static let maximumValues = 16

  func http() throws(ConfigProblem) -> RouteMatch {
    let fields = try field.fields(Schemas.httpMatch)
    return RouteMatch(
      path: try fields["path"].map { (path) throws(ConfigProblem) in try self.path(path) } ?? .prefix("/"),
      headers: try headers(fields["headers"]),
      queryParameters: try values(fields["queryParams"]) { (name) throws(ConfigProblem) in try name.line(1...256) },
      method: try fields["method"]?.choice(Self.methods) ?? "")
  }

  private static let methods: KeyValuePairs = [
    "GET": "GET", "HEAD": "HEAD", "POST": "POST", "PUT": "PUT", "DELETE": "DELETE", "CONNECT": "CONNECT",
    "OPTIONS": "OPTIONS", "TRACE": "TRACE", "PATCH": "PATCH",
  ]

  private func path(_ field: Field) throws(ConfigProblem) -> RouteMatch.Path {
    let fields = try field.fields(Schemas.pathMatch)
    let type = try fields["type"]?.choice(["Exact": "Exact", "PathPrefix": "PathPrefix", "RegularExpression": ""])
    if type == "" { return .regularExpression(try fields.required("value").regularExpression()) }
    let value = try fields["value"]?.absolutePath() ?? "/"
    if type == "Exact" { return .exact(value) }
    return .prefix(value.count > 1 && value.hasSuffix("/") ? String(value.dropLast()) : value)
  }

  /// A method of a service becomes its path: `/package.Service/Method`.
  func grpc() throws(ConfigProblem) -> RouteMatch {
    let fields = try field.fields(Schemas.grpcMatch)
    var match = RouteMatch(headers: try headers(fields["headers"]))
    guard let field = fields["method"] else { return match }
    let method = try field.fields(Schemas.grpcMethod)
    guard method["service"] != nil || method["method"] != nil else {
      throw field.problem("has no service and no method")
    }
    let isPattern: Bool = try method["type"]?.choice(["Exact": false, "RegularExpression": true]) ?? false
    if isPattern {
      let service = try method["service"]?.regularExpression()
      let name = try method["method"]?.regularExpression()
      match.setLengths(service, name)
      match.path = .regularExpression(
        "/\(service.map { "(?:\($0))" } ?? "[^/]+")/\(name.map { "(?:\($0))" } ?? "[^/]+")")
      return match
    }
    let service = try method["service"]?.grpcName(dots: true)
    let name = try method["method"]?.grpcName(dots: false)
    match.setLengths(service, name)
    match.path =
      switch (service, name) {
      case (let service?, let name?): .exact("/\(service)/\(name)")
      case (let service?, nil): .prefix("/\(service)")
      case (nil, let name?): .regularExpression("/[^/]+/\(name)")
      case (nil, nil): .prefix("/")
      }
    return match
  }

  private func headers(_ field: Field?) throws(ConfigProblem) -> [RouteMatch.Value] {
    try values(field) { (name) throws(ConfigProblem) in try name.token().lowercased() }
  }

  /// Of several with one name the first counts, as the Gateway API has it.
  private func values(
    _ field: Field?, _ name: (Field) throws(ConfigProblem) -> String
  ) throws(ConfigProblem) -> [RouteMatch.Value] {
    var values: [RouteMatch.Value] = []
    for field in try field?.list(upTo: Self.maximumValues) ?? [] {
      let fields = try field.fields(Schemas.valueMatch)
      let isPattern: Bool = try fields["type"]?.choice(["Exact": false, "RegularExpression": true]) ?? false
      let name = try name(try fields.required("name"))
      let value = try fields.required("value")
      let text = isPattern ? try value.regularExpression() : try value.line(1...4096)
      guard !values.contains(where: { $0.name == name }) else { continue }
      values.append(RouteMatch.Value(name: name, value: text, isRegularExpression: isPattern))
    }
    return values
  }
}

extension RouteMatch {
  fileprivate mutating func setLengths(_ service: String?, _ method: String?) {
    serviceLength = UInt32(service?.count ?? 0)
    methodLength = UInt32(method?.count ?? 0)
  }
}

extension Field {
  /// A path as a client sends it, normalized: the CRD's own rules.
  func absolutePath() throws(ConfigProblem) -> String {
    let text = try line(1...1024)
    guard text.hasPrefix("/") else { throw expected("a path: it must begin with /") }
    for part in ["//", "/./", "/../", "%2f", "%2F", "#"] where text.contains(part) {
      throw problem("\"\(text.prefix(64))\" contains \(part), which no path of a request does")
    }
    guard !text.hasSuffix("/.."), !text.hasSuffix("/.") else { throw expected("a path without . and .. at its end") }
    return text
  }

  fileprivate func grpcName(dots: Bool) throws(ConfigProblem) -> String {
    let text = try line(1...1024)
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    let isName = parts.allSatisfy { part in
      part.utf8.first.map { !(UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0) } == true
        && part.utf8.allSatisfy {
          switch $0 {
          case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
          default: false
          }
        }
    }
    guard isName, dots || parts.count == 1 else {
      throw expected(dots ? "a gRPC service such as package.Service" : "the name of a gRPC method")
    }
    return text
  }
}
