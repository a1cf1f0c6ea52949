import Testing

/// What a route holds for: a Service, some of its ports, some clients.
extension EndToEnd.GatewayTests {
  private func marking(_ value: String, to service: String, namespace: String? = nil) -> String {
    """
    - filters:
      - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-Marked, value: mark-\(value)}]}}
      backendRefs: [{name: \(service)\(namespace.map { ", namespace: \($0)" } ?? ""), port: 80}]
    """
  }

  @Test("without routes a client reaches a server, by HTTP, gRPC and lines, on its own node and on another")
  func basic() throws {
    for (pod, namespace) in [("one", "harbor"), ("two", "harbor"), ("guest", "island")] {
      var cases: [(Call, Expected)] = []
      for server in ["one", "two"] {
        let name = "\(server).harbor"
        cases += [
          (.get("/a?b=c", to: name), .from(server, path: "/a?b=c", host: name)),
          (.grpc(to: name), .reply(from: server)),
          (Call(protocol: "line", to: name, port: 9090), Expected(server: server)),
        ]
      }
      cases.append((.get(to: "echo.harbor"), .status(200)))
      try expect(cases, from: pod, in: namespace)
    }
  }

  @Test("a route holds for its Service: not for a pod's address, whatever the Host header says")
  func frontend() throws {
    let two = try lab.addresses("two-0", in: "harbor")
    try with(route(of: "two", port: nil, marking("yes", to: "two"))) {
      try expect([
        (.get(to: "two"), Expected(server: "two", answered: ["x-marked": "mark-yes"])),
        (.get(to: two.v4, port: 8080), Expected(server: "two", answered: ["x-marked": nil])),
        (.get(to: two.v6, port: 8080, host: "[\(two.v6)]:8080"), Expected(server: "two", answered: ["x-marked": nil])),
        (.get(to: "two", host: "one"), Expected(server: "two", host: "one", answered: ["x-marked": "mark-yes"])),
        (.get(to: "one", host: "two"), Expected(server: "one", host: "two", answered: ["x-marked": nil])),
        (.get(to: two.v4, port: 8080, host: "two"), Expected(server: "two", answered: ["x-marked": nil])),
      ])
    }
  }

  @Test("a parent's port holds the route to it; without one it is for all of the Service's ports")
  func ports() throws {
    let all =
      route("first", of: "one", port: 80, marking("first", to: "one")) + "\n---\n"
      + route("second", of: "two", port: nil, marking("second", to: "two")) + "\n---\n"
      + route("third", port: 8080, marking("third", to: "one"))
      .replacing("port: 8080", with: "sectionName: http-alt")
    try with(all) {
      try expect([
        (.get(to: "one"), Expected(server: "one", answered: ["x-marked": "mark-first"])),
        (.get(to: "one", port: 8080), Expected(server: "one", answered: ["x-marked": nil])),
        (.get(to: "two"), Expected(server: "two", answered: ["x-marked": "mark-second"])),
        (.get(to: "two", port: 8080), Expected(server: "two", answered: ["x-marked": "mark-second"])),
        // A port by its name.
        (.get(port: 8080), Expected(server: "one", answered: ["x-marked": "mark-third"])),
        (.get(), .status(200, ["x-marked": nil])),
      ])
    }
  }

  @Test("a consumer's route holds for clients of its own namespace; beside it the producer's for all others")
  func consumer() throws {
    let consumer = route(
      "consumer", in: "island", of: "one", parentNamespace: "harbor", port: nil,
      marking("consumer", to: "one", namespace: "harbor"))
    try with(consumer) {
      try expect(
        [(.get(to: "one.harbor"), Expected(server: "one", answered: ["x-marked": "mark-consumer"]))], from: "guest",
        in: "island")
      for pod in ["one", "two"] {
        try expect([(.get(to: "one.harbor"), Expected(server: "one", answered: ["x-marked": nil]))], from: pod)
      }
      expectCondition("Accepted", "True/Accepted", of: "consumer", in: "island")
      try with(route("producer", of: "one", port: nil, marking("producer", to: "one"))) {
        try expect([(.get(to: "one"), Expected(server: "one", answered: ["x-marked": "mark-producer"]))], from: "two")
        try expect(
          [(.get(to: "one.harbor"), Expected(server: "one", answered: ["x-marked": "mark-consumer"]))], from: "guest",
          in: "island")
      }
    }
    // Its clients may go elsewhere: to a Service of their own.
    let away = route(
      "away", in: "island", of: "one", parentNamespace: "harbor", "- backendRefs: [{name: guest, port: 80}]")
    try with(away) {
      try expect([(.get(to: "one.harbor"), .from("guest"))], from: "guest", in: "island")
      try expect([(.get(to: "one.harbor"), .from("one"))], from: "two")
    }
    try expect(
      [(.get(to: "one.harbor"), Expected(server: "one", answered: ["x-marked": nil]))], from: "guest", in: "island")
  }

  @Test("a route's host names choose by the Host header: exact before wildcards, the longest wildcard first")
  func hostnames() throws {
    let yaml = [
      route("exact", hostnames: "till.example.com", "- backendRefs: [{name: one, port: 8080}]"),
      route("deep", hostnames: "'*.shop.example.com'", "- backendRefs: [{name: two, port: 8080}]"),
      route("wide", hostnames: "'*.example.com'", marking("wide", to: "one")),
    ].joined(separator: "\n---\n")
    try with(yaml) {
      try expect([
        (.get(host: "till.example.com"), Expected(server: "one", answered: ["x-marked": nil])),
        (.get(host: "TILL.example.com"), Expected(server: "one", answered: ["x-marked": nil])),
        (.get(host: "till.example.com:80"), Expected(server: "one", answered: ["x-marked": nil])),
        (.get(host: "a.shop.example.com"), Expected(server: "two")),
        (.get(host: "a.b.shop.example.com"), Expected(server: "two")),
        (.get(host: "shop.example.com"), Expected(server: "one", answered: ["x-marked": "mark-wide"])),
        (.get(host: "example.com"), .status(404)),
      ])
    }
  }
}
