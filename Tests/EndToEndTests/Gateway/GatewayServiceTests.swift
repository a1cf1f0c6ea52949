import Foundation
import Testing

/// What Services and pods say of themselves: affinity to clients, weights; and routes of bytes for their clients only.
extension EndToEnd.GatewayTests {
  /// Objects by `weft-lab apply`, which gives Services addresses, while `body` runs.
  private func applied(_ objects: [(reference: String, namespace: String, yaml: String)], _ body: () throws -> Void)
    throws
  {
    let done = try lab.apply(objects.map(\.yaml).joined(separator: "\n---\n"))
    try #require(done.status == 0, "\(done.output)\(done.errors)")
    defer {
      for (reference, namespace, _) in objects { _ = try? lab.act("delete", reference, "-n", namespace) }
    }
    try body()
  }

  @Test("sessionAffinity ClientIP: a client's requests, calls and connections keep an endpoint")
  func clientAffinity() throws {
    let bound = """
      apiVersion: v1
      kind: Service
      metadata: {name: bound, namespace: harbor}
      spec:
        selector: {app: echo}
        sessionAffinity: ClientIP
        ports:
        - {name: http, port: 80, targetPort: 8080}
        - {name: tcp, port: 9090}
        - {name: grpc, port: 7070}
      """
    // Which has both answer, where nothing binds.
    let random = (
      "TrafficPolicy/random", "harbor",
      policy("random", on: "kind: Service, name: echo", "loadBalancer: {algorithm: random}")
    )
    try applied([("Service/bound", "harbor", bound), random]) {
      for (pod, namespace) in [("one", "harbor"), ("two", "harbor"), ("guest", "island")] {
        try expect([(.get(to: "bound.harbor"), .status(200))], from: pod, in: namespace)
        for (`protocol`, port) in [("http", 80), ("line", 9090), ("grpc", 7070)] {
          let call = Call(protocol: `protocol`, to: "bound.harbor", port: port, path: "/shop.Till/Sell")
          let seen = try tally(call, 16, from: pod, in: namespace)
          #expect(seen.count == 1 && seen.first?.value == 16, "\(`protocol`) from \(pod): \(seen)")
          guard pod == "guest" else { continue }
          let free = Call(protocol: `protocol`, to: "echo.harbor", port: port, path: "/shop.Till/Sell")
          #expect(try tally(free, 24, from: pod, in: namespace).count == 2, "\(`protocol`) from \(pod), without")
        }
      }
      // GEP-1619: what the Service says excludes sessions of routes.
      let session = "- sessionPersistence: {sessionName: s}\n  backendRefs: [{name: one, port: 80}]"
      for service in ["bound", "echo"] {
        let backend = service == "bound" ? "one" : "bound"
        try with(route(of: service, session.replacing("name: one", with: "name: \(backend)"))) {
          expectCondition("Accepted", "False/UnsupportedValue", of: "case", saying: "harbor/bound")
          let told = try lab.weft("a", "status", "--control-status", statusFile).output
          #expect(told.contains("harbor/case") && told.contains("sessionAffinity: ClientIP"), "\(told)")
          let inForce = try lab.weft("a", "routes").output
          #expect(!inForce.contains("harbor/case"), "\(inForce)")
        }
      }
      // Without sessions a route of it holds.
      try with(route(of: "bound", "- backendRefs: [{name: two, port: 80}]")) {
        try expect([(.get(to: "bound"), .from("two"))])
        expectCondition("Accepted", "True/Accepted", of: "case")
      }
    }
  }

  // MARK: weights of pods

  /// A pod of the lab's YAML with annotations: its spec is the same, so that it goes on.
  private func pod(_ name: String, weight: Int?) throws -> String {
    let mesh = try String(contentsOfFile: "\(TestLab.programs)/gateway/mesh.yaml", encoding: .utf8)
    let found = try #require(mesh.components(separatedBy: "\n---\n").first { $0.contains("  name: \(name)-0\n") })
    guard let weight else { return found }
    return found.replacing("metadata:\n", with: "metadata:\n  annotations: {weft.dev/weight: \"\(weight)\"}\n")
  }

  private func setWeights(_ one: Int?, _ two: Int?) throws {
    let done = try lab.apply(["one": one, "two": two].map { try pod($0, weight: $1) }.joined(separator: "\n---\n"))
    try #require(done.status == 0, "\(done.output)\(done.errors)")
    for node in ["a", "b"] {
      wait(5, for: "the weights on node \(node)") {
        let seen = try lab.ask(node, "endpoints")["endpoints"].list.filter { $0["service"].text == "harbor/echo" }
        return Set(seen.map { "\($0["workload"].text ?? "") \($0["weight"])" }) == [
          "harbor/one-0 \(one ?? 1)", "harbor/two-0 \(two ?? 1)",
        ]
      }
    }
  }

  @Test("weft.dev/weight of pods: their shares of requests, calls and connections; 0 gets nothing")
  func podWeights() throws {
    let before = try ["one-0", "two-0"].map { try lab.addresses($0, in: "harbor").v4 }
    let random = policy("random", on: "kind: Service, name: echo", "loadBalancer: {algorithm: random}")
    try with(random) {
      defer { try? setWeights(nil, nil) }
      try setWeights(30, 10)
      let calls: [Call] = [
        .get(to: "echo.harbor"), .grpc(to: "echo.harbor"), Call(protocol: "line", to: "echo.harbor", port: 9090),
      ]
      for pod in ["one", "two"] {
        for call in calls {
          let seen = try tally(call, 300, from: pod)
          // 225 of 300, four and a half deviations.
          #expect(
            192...258 ~= seen["one"] ?? 0 && (seen["one"] ?? 0) + (seen["two"] ?? 0) == 300, "\(call.protocol): \(seen)"
          )
        }
      }
      try setWeights(0, 1)
      for call in calls { #expect(try tally(call, 60) == ["two": 60], "\(call.protocol)") }
    }
    // Every other way to balance goes by them too.
    defer { try? setWeights(nil, nil) }
    for algorithm in ["roundRobin", "leastRequest", "peakEWMA"] {
      try with(policy("way", on: "kind: Service, name: echo", "loadBalancer: {algorithm: \(algorithm)}")) {
        try setWeights(1, 0)
        #expect(try tally(.get(), 60) == ["one": 60], "\(algorithm)")
        try setWeights(6, 2)
        let seen = try tally(.get(), 300)
        // That one goes by latencies as well, and a busy machine makes some.
        let least = algorithm == "peakEWMA" ? 60 : seen["two"] ?? 0
        #expect(seen["one"] ?? 0 > least && seen["two"] ?? 0 > 0, "\(algorithm): \(seen)")
      }
    }
    #expect(try ["one-0", "two-0"].map { try lab.addresses($0, in: "harbor").v4 } == before)
  }

  // MARK: consumers of bytes

  @Test("a TCPRoute of a client's namespace holds for that namespace's clients only")
  func tcpConsumer() throws {
    let lines = """
      apiVersion: v1
      kind: Service
      metadata: {name: guest-lines, namespace: island}
      spec: {selector: {app: guest}, ports: [{name: tcp, port: 9090}]}
      """
    let line = Call(protocol: "line", to: "echo.harbor", port: 9090)
    try applied([("Service/guest-lines", "island", lines)]) {
      let consumer = route(
        "mine", kind: "TCPRoute", in: "island", parentNamespace: "harbor", port: 9090,
        "- backendRefs: [{name: guest-lines, port: 9090}]")
      func expectLines(_ expected: [String: Int], from pod: String, in namespace: String = "harbor") {
        wait(5, for: "\(expected) from \(pod)") { try tally(line, 20, from: pod, in: namespace) == expected }
      }
      try with(consumer) {
        expectLines(["guest": 20], from: "guest", in: "island")
        expectCondition("Accepted", "True/Accepted", of: "mine", in: "island", kind: "TCPRoute")
        for pod in ["one", "two"] { #expect(try tally(line, 20, from: pod)["guest"] == nil, "\(pod)") }
        // Beside it the producer's, for all others.
        try with(route("ours", kind: "TCPRoute", port: 9090, "- backendRefs: [{name: two, port: 9090}]")) {
          for pod in ["one", "two"] { expectLines(["two": 20], from: pod) }
          expectLines(["guest": 20], from: "guest", in: "island")
          expectCondition("Accepted", "True/Accepted", of: "ours", kind: "TCPRoute")
        }
      }
      wait(5, for: "the route's end") {
        Set(try tally(line, 20, from: "guest", in: "island").keys) == ["one", "two"]
      }
    }
  }
}
