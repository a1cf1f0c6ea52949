/// One request of `ask.py`.
struct Call: Encodable, Sendable {
  var `protocol` = "http"
  var to = "echo"
  var port = 80
  /// Of the Host header; nil: where it goes.
  var host: String?
  var method = "GET"
  var path = "/"
  var headers: [String: String] = [:]
  var bytes = 0
  var count = 1
  var timeout = 5.0

  static func get(
    _ path: String = "/", to: String = "echo", port: Int = 80, host: String? = nil, _ headers: [String: String] = [:]
  ) -> Call {
    Call(to: to, port: port, host: host, path: path, headers: headers)
  }

  static func grpc(_ path: String = "/shop.Till/Sell", to: String = "echo", _ headers: [String: String] = [:]) -> Call {
    Call(protocol: "grpc", to: to, port: 7070, path: path, headers: headers)
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(`protocol`, forKey: .protocol)
    try container.encode(to, forKey: .to)
    try container.encode(port, forKey: .port)
    try container.encode(host ?? (port == 80 ? to : "\(to):\(port)"), forKey: .host)
    try container.encode(method, forKey: .method)
    try container.encode(path, forKey: .path)
    try container.encode(headers, forKey: .headers)
    try container.encode(bytes, forKey: .bytes)
    try container.encode(count, forKey: .count)
    try container.encode(timeout, forKey: .timeout)
  }
  private enum CodingKeys: CodingKey { case `protocol`, to, port, host, method, path, headers, bytes, count, timeout }
}

/// What has to come back. What is nil isn't looked at.
struct Expected: Sendable {
  /// Of HTTP; of gRPC's 0 is success.
  var status = 200
  var server: String?
  /// What the server saw.
  var path: String?
  var host: String?
  /// In lower case; nil: must be absent. Several with one name are joined by commas.
  var headers: [String: String?] = [:]
  /// As `headers`, of the response.
  var answered: [String: String?] = [:]

  static func from(_ server: String, path: String? = nil, host: String? = nil, _ headers: [String: String?] = [:])
    -> Expected
  {
    Expected(server: server, path: path, host: host, headers: headers)
  }

  static func status(_ status: Int, _ answered: [String: String?] = [:]) -> Expected {
    Expected(status: status, answered: answered)
  }

  static func redirect(_ status: Int, _ location: String) -> Expected {
    Expected(status: status, answered: ["location": location])
  }

  /// Of a unary call.
  static func reply(from server: String, _ headers: [String: String?] = [:]) -> Expected {
    Expected(status: 0, server: server, headers: headers)
  }

  /// nil where it holds.
  func mismatch(_ facts: Facts) -> String? {
    let body = facts["body"]
    var wrong: [String] = []
    func compare(_ what: String, _ expected: String?, _ seen: String?) {
      if expected != seen { wrong.append("\(what) is \(seen ?? "absent"), not \(expected ?? "absent")") }
    }
    compare("status", "\(status)", facts["status"].int.map { "\($0)" })
    if let server { compare("server", server, body["name"].text) }
    if let path { compare("path", path, body["path"].text) }
    if let host { compare("host", host, body["host"].text) }
    for (name, value) in headers {
      let values = body["headers"].list.filter { $0.list.first?.text == name }.compactMap { $0.list.last?.text }
      compare(name, value, values.isEmpty ? nil : values.joined(separator: ","))
    }
    for (name, value) in answered {
      let values = facts["headers"][name].texts
      compare("the answer's \(name)", value, values.isEmpty ? nil : values.joined(separator: ","))
    }
    return wrong.isEmpty ? nil : "\(wrong.sorted().joined(separator: "; ")) in \(facts)"
  }
}
