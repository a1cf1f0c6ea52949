import Foundation
import Testing

/// What a TrafficPolicy holds for: a Service, one of its ports, a route, some clients. Its faults and limits tell which
/// policy a request met.
extension EndToEnd.GatewayTests {
  /// A policy's YAML.
  /// - Parameters:
  ///   - target: members of its one target.
  ///   - spec: members of its spec.
  func policy(_ name: String, on target: String, clients: String = "", _ spec: String) -> String {
    """
    apiVersion: weft.dev/v1alpha1
    kind: TrafficPolicy
    metadata: {name: \(name), namespace: harbor}
    spec:
      targetRefs: [{\(target)}]\(clients.isEmpty ? "" : "\n  clients: [\(clients)]")
      \(spec.replacing("\n", with: "\n  "))
    """
  }

  /// Two routes of Service echo, each for a path of its name.
  private var leftAndRight: String {
    ["left", "right"].map { name in
      route(name, port: nil, "- matches: [{path: {value: /\(name)}}]\n  backendRefs: [{name: one, port: 80}]")
    }.joined(separator: "\n---\n")
  }

  private func aborting(_ status: Int) -> String { "faults: [{abort: \(status)}]" }

  @Test("each client meets the policy that names it, and of what that doesn't say the one for all")
  func policyByClient() throws {
    let yaml = [
      policy("all", on: "kind: Service, name: echo", aborting(451) + "\nheaders: {reason: true}"),
      policy("account", on: "kind: Service, name: echo", clients: "{serviceAccount: two}", aborting(452)),
      policy("namespace", on: "kind: Service, name: echo", clients: "{namespace: island}", aborting(453)),
      policy(
        "nobody", on: "kind: Service, name: echo", clients: "{namespace: island, serviceAccount: one}", aborting(454)),
    ].joined(separator: "\n---\n")
    try with(yaml) {
      for (pod, namespace, status) in [("one", "harbor", 451), ("two", "harbor", 452), ("guest", "island", 453)] {
        try expect(
          [
            (.get(to: "echo.harbor"), .status(status, ["weft-reason": "FI: aborted by fault injection"])),
            (.get(to: "echo.harbor", port: 8080), .status(status)),
            (.get(to: "one.harbor"), Expected(server: "one", answered: ["weft-reason": nil])),
          ], from: pod, in: namespace)
      }
    }
    // Who is named by a policy alone has company of nobody.
    let alone = policy(
      "alone", on: "kind: Service, name: echo",
      clients: "{namespace: island, serviceAccount: guest}, {serviceAccount: two}",
      aborting(455))
    try with(alone) {
      try expect([(.get(to: "echo.harbor"), .status(455))], from: "guest", in: "island")
      try expect([(.get(to: "echo.harbor"), .status(455))], from: "two")
      try expect([(.get(to: "echo.harbor"), .status(200))], from: "one")
    }
  }

  @Test("a route's policy holds for that route, a port's for that port, a Service's for what is left")
  func policyByRouteAndPort() throws {
    let policies = [
      policy("route", on: "group: gateway.networking.k8s.io, kind: HTTPRoute, name: left", aborting(461)),
      policy("port", on: "kind: Service, name: echo, sectionName: http-alt", aborting(462)),
      policy("service", on: "kind: Service, name: echo", aborting(463)),
    ]
    try with(leftAndRight) {
      try with(policies[0]) {
        for pod in ["one", "two"] {
          try expect(
            [
              (.get("/left"), .status(461)), (.get("/left", port: 8080), .status(461)),
              (.get("/right"), .from("one")), (.get("/right", port: 8080), .from("one")),
              (.get("/left", to: "one"), .from("one")),
            ], from: pod)
        }
      }
      try with(policies[1]) {
        try expect([
          (.get("/left"), .from("one")), (.get("/left", port: 8080), .status(462)),
          (.get("/right"), .from("one")), (.get("/right", port: 8080), .status(462)),
        ])
      }
      try with(policies.joined(separator: "\n---\n")) {
        try expect([
          (.get("/left"), .status(461)), (.get("/left", port: 8080), .status(461)),
          (.get("/right"), .status(463)), (.get("/right", port: 8080), .status(462)),
          // No route takes it.
          (.get("/"), .status(404)),
        ])
      }
      try expect([(.get("/left"), .from("one")), (.get("/right", port: 8080), .from("one"))])
    }
  }

  // MARK: limits

  /// What comes of twelve requests.
  private func dozen(
    _ path: String = "/", to server: String, bucket: String, from pod: String = "one", in namespace: String = "harbor"
  ) throws -> [String: Int] {
    try tally(.get(path, to: "\(server).harbor", ["x-bucket": bucket]), 12, from: pod, in: namespace)
  }

  /// Limits have a key besides, so that what is asked to find out whether they hold takes from nobody's bucket.
  private func limiting(_ keys: String) -> String {
    "rateLimits: [{requests: 5, interval: 1h, keys: [\(keys){header: x-bucket}]}]\nheaders: {reason: true}"
  }

  private var clients: [(pod: String, namespace: String)] {
    [("one", "harbor"), ("two", "harbor"), ("guest", "island")]
  }

  private func waitForLimit(_ path: String = "/", to server: String) throws {
    for (pod, namespace) in clients {
      wait(5, for: "the limit of \(pod)") {
        let name = UUID().uuidString
        return try dozen(path, to: server, bucket: name, from: pod, in: namespace) == [
          server == "echo" ? "one" : server: 5, "429": 7,
        ]
      }
    }
  }

  @Test("a rate limit by clientIdentity gives each client a bucket of its own; without, a node's share one")
  func limitByIdentity() throws {
    try with(policy("limit", on: "kind: Service, name: two", limiting("clientIdentity, "))) {
      try waitForLimit(to: "two")
      for (pod, namespace) in clients {
        #expect(try dozen(to: "two", bucket: "a", from: pod, in: namespace) == ["two": 5, "429": 7], "\(pod)")
        #expect(try dozen(to: "two", bucket: "a", from: pod, in: namespace) == ["429": 12], "\(pod)")
      }
      let refused = try ask([.get(to: "two", ["x-bucket": "a"])])[0]
      #expect(refused["headers"]["weft-reason"].texts == ["RL: a rate limit is reached"], "\(refused)")
      // A token every 720 s.
      #expect(1...720 ~= refused["headers"]["retry-after"].texts.first.flatMap { Int($0) } ?? 0, "\(refused)")
      #expect(try tally(.get(to: "one", ["x-bucket": "a"]), 12) == ["one": 12])
    }
    try with(policy("limit", on: "kind: Service, name: two", limiting(""))) {
      try waitForLimit(to: "two")
      #expect(try dozen(to: "two", bucket: "b", from: "one") == ["two": 5, "429": 7])
      #expect(try dozen(to: "two", bucket: "b", from: "guest", in: "island") == ["429": 12], "on the same node")
      #expect(try dozen(to: "two", bucket: "b", from: "two") == ["two": 5, "429": 7], "on the other")
    }
  }

  @Test("a rate limit by route gives each route a bucket of its own; without, a Service's share one")
  func limitByRoute() throws {
    try with(leftAndRight) {
      try with(policy("limit", on: "kind: Service, name: echo", limiting("route, "))) {
        try waitForLimit("/left", to: "echo")
        for path in ["/left", "/right"] {
          #expect(try dozen(path, to: "echo", bucket: "c") == ["one": 5, "429": 7], "\(path)")
        }
        #expect(try dozen("/left", to: "echo", bucket: "c") == ["429": 12])
      }
      try with(policy("limit", on: "kind: Service, name: echo", limiting(""))) {
        try waitForLimit("/left", to: "echo")
        #expect(try dozen("/left", to: "echo", bucket: "d") == ["one": 5, "429": 7])
        #expect(try dozen("/right", to: "echo", bucket: "d") == ["429": 12])
      }
      let one = policy("limit", on: "kind: HTTPRoute, name: left", limiting(""))
      try with(one) {
        try waitForLimit("/left", to: "echo")
        #expect(try dozen("/right", to: "echo", bucket: "e") == ["one": 12])
      }
    }
  }

  // MARK: faults

  @Test("faults by a header's expression, which takes the whole value, and by percentage")
  func faults() throws {
    let pattern = #"{name: x-test, type: RegularExpression, value: "(beta|canary)-[0-9]+"}"#
    let faults = """
      faults:
      - {abort: 418, header: \(pattern)}
      - {abort: 419, percent: 50, header: {name: x-half, value: "yes"}}
      headers: {reason: true}
      """
    try with(policy("faults", on: "kind: Service, name: two", faults)) {
      for pod in ["one", "two"] {
        try expect(
          [
            (.get(to: "two", ["x-test": "beta-12"]), .status(418, ["weft-reason": "FI: aborted by fault injection"])),
            (.get(to: "two", ["x-test": "canary-0"]), .status(418)),
            (.get(to: "two", ["x-test": "beta-"]), .from("two")),
            (.get(to: "two", ["x-test": "a beta-12"]), .from("two")),
            (.get(to: "two", ["x-test": "beta-12a"]), .from("two")),
            (.get(to: "two", ["x-half": "no"]), .from("two")), (.get(to: "two"), .from("two")),
          ], from: pod)
      }
      let seen = try tally(.get(to: "two", ["x-half": "yes"]), 300)
      // Four and a half deviations.
      #expect(111...189 ~= seen["419"] ?? 0 && (seen["419"] ?? 0) + (seen["two"] ?? 0) == 300, "\(seen)")
    }
  }

  @Test("a gRPC client sees the status of an injected fault, of the route whose policy says so")
  func grpcFaults() throws {
    let routes = ["Till", "Stock"].map { service in
      route(
        service.lowercased(), kind: "GRPCRoute", port: 7070,
        "- matches: [{method: {service: shop.\(service)}}]\n  backendRefs: [{name: one, port: 7070}]")
    }
    // RESOURCE_EXHAUSTED; an HTTP status becomes UNAVAILABLE.
    let header = "header: {name: x-http, value: \"yes\"}"
    let fault = policy(
      "till", on: "group: gateway.networking.k8s.io, kind: GRPCRoute, name: till",
      "faults: [{abort: 503, \(header)}, {abortGRPC: 8}]")
    try with(routes.joined(separator: "\n---\n")) {
      try with(fault) {
        for pod in ["one", "two"] {
          try expect(
            [
              (.grpc("/shop.Till/Sell"), .status(8)), (.grpc("/shop.Till/Sell", ["x-http": "yes"]), .status(14)),
              (.grpc("/shop.Stock/Count"), .reply(from: "one")),
            ], from: pod)
        }
      }
      try expect([(.grpc("/shop.Till/Sell"), .reply(from: "one"))])
    }
  }
}
