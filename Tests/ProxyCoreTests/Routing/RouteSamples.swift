import MeshModel

@testable import ProxyCore

extension HTTPHead {
  /// A request to `http://host/path`.
  static func request(
    _ path: String, host: String = "reviews", method: String = "GET", _ headers: KeyValuePairs<String, String> = [:]
  ) -> HTTPHead {
    var head = HTTPHead()
    head.setMethod(method.utf8)
    head.append("Host", host)
    head.setAuthority(host.utf8)
    head.setPath(path.utf8)
    for (name, value) in headers { head.append(name, value) }
    return head
  }

  /// The fields, as text: `name: value`.
  var lines: [String] { fields.map { "\(text($0.name)): \(text($0.value))" } }

  func value(_ name: StaticString) -> String? { first(name).map(text) }
}

extension ServiceKey {
  static let reviews = ServiceKey(namespace: "shop", name: "reviews")
}

extension Route {
  /// A route whose rules each have one match and no backend; a rule's name says which was taken.
  static func sample(
    _ name: String, _ matches: KeyValuePairs<String, RouteMatch>, hostnames: [String] = [], created: Int64 = 0,
    namespace: String = "shop", kind: Kind = .http, parent: Parent = Parent(service: .reviews)
  ) -> Route {
    Route(
      kind: kind, namespace: namespace, name: name, created: created, parents: [parent], hostnames: hostnames,
      rules: matches.map { RouteRule(name: $0.key, matches: [$0.value]) })
  }
}

extension RouteTable {
  convenience init(_ routes: [Route], port: UInt16 = 80) {
    self.init(routes: routes, service: .reviews, port: port)
  }

  /// The name of the rule that takes a request.
  func rule(_ head: HTTPHead, from namespace: String = "shop") -> String? {
    match(head, clientNamespace: namespace)?.rule.rule.name
  }
}

/// SplitMix64: the same numbers each time.
struct RoutingRandom: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }
}
