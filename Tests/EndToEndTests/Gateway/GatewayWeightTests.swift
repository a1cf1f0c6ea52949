import Testing

/// In which proportion backends are chosen. Bounds are more than four deviations wide.
extension EndToEnd.GatewayTests {
  private func expectShares(
    _ shares: [String: Double], _ call: Call = .get(), _ count: Int = 300, from pod: String = "one",
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let seen = try tally(call, count, from: pod)
    #expect(Set(seen.keys).isSubset(of: shares.keys), "\(seen)", sourceLocation: sourceLocation)
    for (server, share) in shares {
      let width = 4.5 * (Double(count) * share * (1 - share)).squareRoot()
      let distance = abs(Double(seen[server] ?? 0) - Double(count) * share)
      #expect(distance <= width, "\(server) of \(share): \(seen)", sourceLocation: sourceLocation)
    }
  }

  @Test("requests are shared out by weight, on each connection and from both nodes")
  func weight() throws {
    let rules = "- backendRefs: [{name: one, port: 8080, weight: 70}, {name: two, port: 8080, weight: 30}]"
    try with(route(rules)) {
      try expect([(.get(), .status(200))])
      for pod in ["one", "two"] { try expectShares(["one": 0.7, "two": 0.3], from: pod) }
    }
  }

  @Test("a weight of zero gets nothing; without weights all get the same")
  func zeroWeight() throws {
    let rules = """
      - matches: [{path: {value: /zero}}]
        backendRefs: [{name: one, port: 8080, weight: 0}, {name: two, port: 8080, weight: 1}]
      - matches: [{path: {value: /even}}]
        backendRefs: [{name: one, port: 8080}, {name: two, port: 8080}]
      """
    try with(route(rules)) {
      try expect([(.get("/zero"), .from("two"))])
      try expectShares(["two": 1], .get("/zero"), 100)
      try expectShares(["one": 0.5, "two": 0.5], .get("/even"))
    }
  }

  @Test("weights that sum to zero, and rules without backends, answer 500; the other rules go on")
  func noWeight() throws {
    let rules = """
      - matches: [{path: {value: /zero}}]
        backendRefs: [{name: one, port: 8080, weight: 0}, {name: two, port: 8080, weight: 0}]
      - matches: [{path: {value: /none}}]
      - matches: [{path: {value: /good}}]
        backendRefs: [{name: one, port: 8080}]
      """
    try with(route(rules)) {
      try expect([(.get("/zero"), .status(500)), (.get("/none"), .status(500)), (.get("/good"), .from("one"))])
    }
  }

  @Test("a backend that leads nowhere answers 500 for its share, and the route says so")
  func invalidShare() throws {
    let rules = """
      - matches: [{path: {value: /half}}]
        backendRefs: [{name: one, port: 8080, weight: 60}, {name: nowhere, port: 8080, weight: 40}]
      - matches: [{path: {value: /port}}]
        backendRefs: [{name: one, port: 4711}]
      - matches: [{path: {value: /kind}}]
        backendRefs: [{name: one, kind: Shed, group: example.org}]
      - matches: [{path: {value: /good}}]
        backendRefs: [{name: two, port: 8080}]
      """
    try with(route(rules)) {
      try expect([(.get("/port"), .status(500)), (.get("/kind"), .status(500)), (.get("/good"), .from("two"))])
      try expectShares(["one": 0.6, "500": 0.4], .get("/half"))
      expectCondition("Accepted", "True/Accepted", of: "case")
      expectCondition("ResolvedRefs", "False/BackendNotFound", of: "case", saying: "harbor/nowhere")
      // It appears: the share goes there.
      let service = """
        apiVersion: v1
        kind: Service
        metadata: {name: nowhere, namespace: harbor}
        spec: {selector: {version: two}, clusterIP: 10.96.88.1, ports: [{port: 8080, appProtocol: http}]}
        """
      try with(service) {
        wait(5, for: "the Service's share") { try tally(.get("/half"), 20)["500"] == nil }
        try expectShares(["one": 0.6, "two": 0.4], .get("/half"))
      }
      wait(5, for: "500 again") { try tally(.get("/half"), 50)["500"] ?? 0 > 0 }
    }
  }

  @Test("gRPC calls of one connection are shared out by weight")
  func grpcWeight() throws {
    let rules = """
      - backendRefs: [{name: one, port: 7070, weight: 70}, {name: two, port: 7070, weight: 30}, \
      {name: three, port: 7070, weight: 0}]
      """
    try with(route(kind: "GRPCRoute", port: 7070, rules)) {
      try expect([(.grpc(), .status(0))])
      for pod in ["one", "two"] { try expectShares(["one": 0.7, "two": 0.3], .grpc(), from: pod) }
    }
  }

  @Test("connections of a TCPRoute are shared out by weight")
  func tcpWeight() throws {
    let rules = "- backendRefs: [{name: one, port: 9090, weight: 1}, {name: two, port: 9090, weight: 3}]"
    let line = Call(protocol: "line", port: 9090)
    try with(route(kind: "TCPRoute", port: 9090, rules)) {
      expectCondition("Accepted", "True/Accepted", of: "case", kind: "TCPRoute")
      try expectShares(["one": 0.25, "two": 0.75], line, 200)
    }
  }
}
