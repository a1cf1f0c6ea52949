import Foundation
import Testing

/// What the mesh says of a request and its answer: a policy's `headers`.
extension EndToEnd.GatewayTests {
  private static let none: [String: String?] = [
    "x-forwarded-for": nil, "x-forwarded-proto": nil, "x-request-id": nil, "via": nil,
  ]

  /// Requests without and with such headers of their own, to both nodes and by gRPC.
  private func expectHeaders(
    _ bare: [String: String?], _ full: [String: String?], answered: [String: String?], by policy: String
  ) throws {
    let own = ["x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https", "x-request-id": "mine", "via": "1.0 edge"]
    let cases: [(Call, Expected)] = ["one", "two"].flatMap { server in
      [
        (.get(to: server), Expected(server: server, headers: bare, answered: answered)),
        (.get(to: server, own), Expected(server: server, headers: full, answered: answered)),
      ]
    }
    func all() throws {
      try expect(cases)
      // Each request has an ID of its own, where it has one.
      let ids = try ask([.get(to: "two"), .get(to: "two")]).flatMap { answer in
        answer["body"]["headers"].list.filter { $0.list.first?.text == "x-request-id" }.compactMap {
          $0.list.last?.text
        }
      }
      #expect(
        ids.isEmpty || ids.count == 2 && ids[0] != ids[1] && ids.allSatisfy { UUID(uuidString: $0) != nil }, "\(ids)")
      #expect(ids.isEmpty == bare.keys.contains("x-request-id"), "\(ids)")
    }
    guard !policy.isEmpty else { return try all() }
    let yaml = ["one", "two"].map { self.policy($0, on: "kind: Service, name: \($0)", "headers: \(policy)") }
    try with(yaml.joined(separator: "\n---\n")) { try all() }
  }

  @Test("headers that are added: by default, each turned off, and `via` turned on, as server and client see them")
  func headerOptions() throws {
    let client = try lab.addresses("one-0", in: "harbor").v4
    let forwarded: [String: String?] = ["x-forwarded-for": client, "x-forwarded-proto": "http"]
    let behind: [String: String?] = ["x-forwarded-for": "192.0.2.7, \(client)", "x-forwarded-proto": "https"]
    let kept: [String: String?] = ["x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https"]
    let mine: [String: String?] = ["x-request-id": "mine"]
    func all(_ parts: [String: String?]...) -> [String: String?] {
      parts.reduce([:]) { $0.merging($1) { _, new in new } }
    }
    let noID: [String: String?] = ["x-request-id": nil]
    let noVia: [String: String?] = ["via": nil]
    let edge: [String: String?] = ["via": "1.0 edge"]
    try expectHeaders(all(forwarded, noVia), all(behind, mine, edge), answered: noVia, by: "")
    try expectHeaders(
      all(["x-forwarded-for": nil, "x-forwarded-proto": nil], noVia), all(kept, mine, edge), answered: noVia,
      by: "{forwardedFor: false}")
    try expectHeaders(
      all(forwarded, noID, noVia), all(behind, mine, edge), answered: noVia, by: "{requestID: false}")
    try expectHeaders(
      all(forwarded, ["via": "1.1 weft"]), all(behind, mine, ["via": "1.0 edge,1.1 weft"]),
      answered: ["via": "1.1 weft"], by: "{via: true}")
    try expectHeaders(
      Self.none, all(kept, mine, edge), answered: noVia, by: "{forwardedFor: false, requestID: false, via: false}")
  }

  @Test("a refusal's reason is told where it is asked for; `via` has the version that came, also of gRPC")
  func reasonsAndVersions() throws {
    let rules = "- matches: [{path: {value: /known}}]\n  backendRefs: [{name: two, port: 80}]"
    try with(route(of: "two", rules)) {
      try expect([(.get("/unknown", to: "two"), .status(404, ["weft-reason": nil]))])
      let told = "headers: {reason: true, via: true}"
      let both = [
        policy("http", on: "kind: Service, name: two, port: 80", told),
        policy("calls", on: "kind: Service, name: two, port: 7070", told),
      ]
      try with(both.joined(separator: "\n---\n")) {
        try expect([
          (.get("/unknown", to: "two"), .status(404, ["weft-reason": "NR: no route matches"])),
          // Nothing is refused.
          (
            .get("/known", to: "two"),
            Expected(server: "two", headers: ["via": "1.1 weft"], answered: ["weft-reason": nil])
          ),
          (
            .grpc(to: "two"),
            Expected(status: 0, server: "two", headers: ["via": "2 weft"], answered: ["via": "2 weft"])
          ),
        ])
      }
    }
  }
}
