import MeshModel

extension Weft_Mesh_V1_RouteFilter {
  init(_ filter: RouteFilter) {
    self.init()
    kind =
      switch filter {
      case .requestHeaders(let edit): .requestHeaders(Weft_Mesh_V1_HeaderEdit(edit))
      case .responseHeaders(let edit): .responseHeaders(Weft_Mesh_V1_HeaderEdit(edit))
      case .redirect(let redirect):
        .redirect(
          .with {
            $0.scheme = redirect.scheme
            $0.hostname = redirect.hostname
            if let port = redirect.port { $0.port = UInt32(port) }
            if let path = redirect.path { $0.path = Weft_Mesh_V1_PathModifier(path) }
            $0.status = UInt32(redirect.status)
          })
      case .rewrite(let rewrite):
        .rewrite(
          .with {
            $0.hostname = rewrite.hostname
            if let path = rewrite.path { $0.path = Weft_Mesh_V1_PathModifier(path) }
          })
      case .mirror(let mirror):
        .mirror(
          .with {
            $0.service = mirror.service.description
            $0.port = UInt32(mirror.port)
            $0.numerator = mirror.numerator
            $0.denominator = mirror.denominator
            $0.invalid = mirror.invalid
          })
      case .cors(let cors):
        .cors(
          .with {
            $0.allowOrigins = cors.allowOrigins
            $0.allowCredentials = cors.allowCredentials
            $0.allowMethods = cors.allowMethods
            $0.allowHeaders = cors.allowHeaders
            $0.exposeHeaders = cors.exposeHeaders
            $0.maxAge = cors.maxAge
          })
      }
  }
}

extension Weft_Mesh_V1_HeaderEdit {
  fileprivate init(_ edit: HeaderEdit) {
    self.init()
    set = edit.set.map { Weft_Mesh_V1_HeaderField($0) }
    add = edit.add.map { Weft_Mesh_V1_HeaderField($0) }
    remove = edit.remove
  }
}

extension Weft_Mesh_V1_HeaderField {
  fileprivate init(_ field: HeaderEdit.Field) {
    self.init()
    name = field.name
    value = field.value
  }
}

extension Weft_Mesh_V1_PathModifier {
  fileprivate init(_ modifier: PathModifier) {
    self.init()
    kind =
      switch modifier {
      case .replaceFull(let path): .replaceFull(path)
      case .replacePrefix(let path): .replacePrefix(path)
      }
  }
}

extension Check {
  func filters(
    _ messages: [Weft_Mesh_V1_RouteFilter], _ field: @autoclosure () -> String
  ) throws(InvalidResource) -> [RouteFilter] {
    let field = field()
    return try list(messages, field) { (message) throws(InvalidResource) in try filter(message, field) }
  }

  private func filter(_ message: Weft_Mesh_V1_RouteFilter, _ field: String) throws(InvalidResource) -> RouteFilter {
    switch message.kind {
    case .requestHeaders(let edit): .requestHeaders(try headerEdit(edit, "\(field).request_headers"))
    case .responseHeaders(let edit): .responseHeaders(try headerEdit(edit, "\(field).response_headers"))
    case .redirect(let redirect): .redirect(try self.redirect(redirect, "\(field).redirect"))
    case .rewrite(let rewrite):
      .rewrite(
        Rewrite(
          hostname: rewrite.hostname.isEmpty ? "" : try plainHostname(rewrite.hostname, "\(field).rewrite.hostname"),
          path: rewrite.hasPath ? try pathModifier(rewrite.path, "\(field).rewrite.path") : nil))
    case .mirror(let mirror): .mirror(try self.mirror(mirror, "\(field).mirror"))
    case .cors(let cors): .cors(try self.cors(cors, "\(field).cors"))
    case nil: throw error(field, "is of no known kind")
    }
  }

  private func headerEdit(_ message: Weft_Mesh_V1_HeaderEdit, _ field: String) throws(InvalidResource) -> HeaderEdit {
    HeaderEdit(
      set: try list(message.set, "\(field).set") { (header) throws(InvalidResource) in
        HeaderEdit.Field(
          name: try token(header.name, "\(field).set.name"),
          value: try text(header.value, "\(field).set.value", upTo: Self.maximumValue))
      },
      add: try list(message.add, "\(field).add") { (header) throws(InvalidResource) in
        HeaderEdit.Field(
          name: try token(header.name, "\(field).add.name"),
          value: try text(header.value, "\(field).add.value", upTo: Self.maximumValue))
      },
      remove: try list(message.remove, "\(field).remove") { (name) throws(InvalidResource) in
        try token(name, "\(field).remove")
      })
  }

  private func redirect(_ message: Weft_Mesh_V1_Redirect, _ field: String) throws(InvalidResource) -> Redirect {
    try self(["", "http", "https"].contains(message.scheme), "\(field).scheme", "is neither http nor https")
    try self([301, 302, 303, 307, 308].contains(message.status), "\(field).status", "is no redirect")
    return Redirect(
      scheme: message.scheme,
      hostname: message.hostname.isEmpty ? "" : try plainHostname(message.hostname, "\(field).hostname"),
      port: message.hasPort ? try port(message.port, "\(field).port") : nil,
      path: message.hasPath ? try pathModifier(message.path, "\(field).path") : nil, status: Int(message.status))
  }

  private func plainHostname(_ value: String, _ field: String) throws(InvalidResource) -> String {
    try self(!value.hasPrefix("*"), field, "is a wildcard")
    return try hostname(value, field)
  }

  private func pathModifier(
    _ message: Weft_Mesh_V1_PathModifier, _ field: String
  ) throws(InvalidResource) -> PathModifier {
    switch message.kind {
    case .replaceFull(let path): .replaceFull(try text(path, field))
    case .replacePrefix(let path): .replacePrefix(try text(path, field))
    case nil: throw error(field, "is of no known kind")
    }
  }

  private func mirror(_ message: Weft_Mesh_V1_Mirror, _ field: String) throws(InvalidResource) -> Mirror {
    let (service, port) = try reference(message.service, message.port, message.invalid, field)
    let denominator = try number(message.denominator, 1...UInt32(Int32.max), "\(field).denominator")
    return Mirror(
      service: service, port: port, numerator: try number(message.numerator, 0...denominator, "\(field).numerator"),
      denominator: denominator, invalid: try text(message.invalid, "\(field).invalid"))
  }

  private func cors(_ message: Weft_Mesh_V1_CORS, _ field: String) throws(InvalidResource) -> CORS {
    func texts(_ values: [String], _ name: String) throws(InvalidResource) -> [String] {
      try list(values, "\(field).\(name)") { (value) throws(InvalidResource) in
        try self(!value.isEmpty, "\(field).\(name)", "is empty")
        return try text(value, "\(field).\(name)")
      }
    }
    return CORS(
      allowOrigins: try texts(message.allowOrigins, "allow_origins"), allowCredentials: message.allowCredentials,
      allowMethods: try texts(message.allowMethods, "allow_methods"),
      allowHeaders: try texts(message.allowHeaders, "allow_headers"),
      exposeHeaders: try texts(message.exposeHeaders, "expose_headers"),
      maxAge: try number(message.maxAge, 0...UInt32(Int32.max), "\(field).max_age"))
  }
}
