import Foundation
import Testing

/// Changes of what is in force, and of who is there, under streams that go on.
extension EndToEnd.ProtocolTests {
  @Test("thirty changes of routes and policies under HTTP/2, gRPC and TCP: nothing fails, closes, or sees half of one")
  func streamChanges() throws {
    let last = 30
    let path = "\(lab.folder)/config/changing.yaml"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try routes(1).write(toFile: path, atomically: true, encoding: .utf8)
    wait(5, for: "the first routes") {
      let seen = try lab.exec(
        "client", ["curl", "-si", "--max-time", "3", "--http2-prior-knowledge", "http://changing:84/1k"])
      let inForce = try lab.weft("a", "routes").output
      return seen.output.contains("x-generation: 1\r\n") && ["calls", "lines"].allSatisfy(inForce.contains)
    }
    let load = try lab.start("client", "protocols/changes2.py", "changing", "\(last)")
    for generation in 2...last {
      usleep(150_000)
      try routes(generation).write(toFile: path, atomically: true, encoding: .utf8)
    }
    let seen = try load.facts(within: 90)
    for name in ["failed", "closed", "mixed", "backwards"] { #expect(seen[name].int == 0, "\(name): \(seen)") }
    #expect(seen["reached"]["http2"].int == last && seen["reached"]["grpc"].int == last, "\(seen)")
    // Of two connections.
    #expect(seen["large"].int == 256 << 20, "\(seen)")
    #expect(seen["grpc held"].int == 2 && seen["tcp held"].int == 2, "\(seen)")
    for name in ["http2", "grpc", "grpc turns", "tcp turns", "connections"] {
      #expect(seen[name].int ?? 0 >= last, "\(name): \(seen)")
    }
  }

  /// Stamps its number on requests and responses, and has one of two backends, as a policy's times are of it.
  private func routes(_ generation: Int) -> String {
    let place = Self.places[generation % 2]
    func stamp(_ kind: String, _ name: String, _ value: String) -> String {
      let field = kind.prefix(1).lowercased() + kind.dropFirst()
      return "{type: \(kind), \(field): {set: [{name: \(name), value: \"\(value)\"}]}}"
    }
    let responses = stamp("ResponseHeaderModifier", "x-generation", "\(generation)")
    let byBackend = stamp("ResponseHeaderModifier", "x-by-backend", "\(generation)")
    let parent = "parentRefs: [{group: \"\", kind: Service, name: changing"
    return """
      apiVersion: gateway.networking.k8s.io/v1
      kind: HTTPRoute
      metadata: {name: changing, namespace: shop}
      spec:
        \(parent), port: 84}]
        rules:
        - filters: [\(responses)]
          backendRefs:
          - name: \(place)
            port: 84
            filters:
            - type: ResponseHeaderModifier
              responseHeaderModifier:
                set: [{name: x-by-backend, value: "\(generation)"}, {name: x-place, value: \(place)}]
      ---
      apiVersion: gateway.networking.k8s.io/v1
      kind: GRPCRoute
      metadata: {name: calls, namespace: shop}
      spec:
        \(parent), port: 87}]
        rules:
        - filters: [\(stamp("RequestHeaderModifier", "x-generation", "\(generation)")), \(responses)]
          backendRefs: [{name: \(place), port: 87, filters: [\(byBackend)]}]
      ---
      apiVersion: gateway.networking.k8s.io/v1alpha2
      kind: TCPRoute
      metadata: {name: lines, namespace: shop}
      spec:
        \(parent), port: 90}]
        rules: [{backendRefs: [{name: \(place), port: 90}]}]
      ---
      apiVersion: weft.dev/v1alpha1
      kind: TrafficPolicy
      metadata: {name: changing, namespace: shop}
      spec:
        targetRefs: [{kind: Service, name: changing}]
        timeouts: {connect: \(1 + generation % 7)s}
        retry: {attempts: \(1 + generation % 3)}
      """
  }

  // MARK: endpoints that leave

  private func parting(_ name: String, on node: String, isLeaving: Bool = false) -> String {
    """
    apiVersion: v1
    kind: Pod
    metadata:
      name: \(name)
      namespace: shop
      labels: {app: parting}\(isLeaving ? "\n  deletionTimestamp: \"2026-01-01T00:00:00Z\"" : "")
    spec:
      nodeName: \(node)
      serviceAccountName: server
      containers:
      - name: own
        command: [python3, $(LAB_DIR)/backend.py, \(name)]
        ports: [{containerPort: 9101}, {containerPort: 9111}]
      - name: grpc
        command: [python3, $(LAB_DIR)/grpc_server.py, \(name)]
        ports: [{containerPort: 9108}]
    """
  }

  private static let partingService = """
    apiVersion: v1
    kind: Service
    metadata: {name: parting, namespace: shop}
    spec:
      selector: {app: parting}
      ports:
      - {name: http, port: 80, targetPort: 9101}
      - {name: grpc, port: 87, targetPort: 9108}
      - {name: lines, port: 90, targetPort: 9111, appProtocol: tcp}
    ---
    apiVersion: weft.dev/v1alpha1
    kind: TrafficPolicy
    metadata: {name: parting, namespace: shop}
    spec: {targetRefs: [{kind: Service, name: parting}], loadBalancer: {algorithm: roundRobin}}
    """

  @Test("an endpoint that leaves keeps what it has to its end and gets nothing new; then it goes, and nothing fails")
  func leaving() throws {
    // It is once on the client's node, once on the other.
    for (node, other) in [("a", "b"), ("b", "a")] {
      let objects = [parting("leaver", on: node), parting("stayer", on: other), Self.partingService]
      let made = try lab.apply(objects.joined(separator: "\n---\n"))
      try #require(made.status == 0, "\(made.output)\(made.errors)")
      defer {
        for object in ["Pod/leaver", "Pod/stayer", "TrafficPolicy/parting", "Service/parting"] {
          _ = try? lab.lab("delete", [object, "-n", "shop"])
        }
      }
      for pod in ["leaver", "stayer"] {
        wait(15, for: "the servers of \(pod)") {
          let seen = try lab.exec(pod, ["ss", "-Hltn"]).output
          return [":9101 ", ":9108 ", ":9111 "].allSatisfy(seen.contains)
        }
      }
      let phase = "\(lab.folder)/phase-\(node)"
      func enter(_ name: String) throws { try name.write(toFile: phase, atomically: true, encoding: .utf8) }
      try enter("full")
      let load = try lab.start("client", "protocols/leaving.py", "parting", "leaver", phase)
      wait(40, for: "streams at both") { FileManager.default.fileExists(atPath: phase + ".ready") }

      let marked = try lab.apply(parting("leaver", on: node, isLeaving: true))
      #expect(marked.status == 0, "\(marked.output)\(marked.errors)")
      wait(5, for: "the mark at the client's node") {
        let seen = try lab.ask("a", "endpoints")["endpoints"].list.filter {
          $0["workload"].text == "shop/leaver" && $0["service"].text == "shop/parting"
        }
        return seen.count == 3 && seen.allSatisfy { $0["draining"].bool == true }
      }
      // The proxy's threads take it within the same moment, and what asks now may have begun before.
      usleep(2_000_000)
      try enter("draining")
      usleep(4_000_000)
      try enter("over")
      usleep(4_000_000)
      try lab.act("delete", "Pod/leaver", "-n", "shop")
      usleep(300_000)
      try enter("end")
      let seen = try load.facts(within: 60)
      #expect(seen["failures"].texts.isEmpty && seen["failures"].list.isEmpty, "node \(node): \(seen["failures"])")
      for kind in ["connections", "calls", "responses"] {
        let names = seen["held"][kind].texts
        #expect(
          names.count { $0 == "leaver" } >= 3 && names.contains("stayer"), "node \(node): \(kind): \(seen["held"])")
      }
      for kind in ["requests", "connections", "calls"] {
        let full = seen["counts"]["\(kind) full"]
        #expect(full["leaver"].int ?? 0 >= 5 && full["stayer"].int ?? 0 > 0, "node \(node): \(kind): \(full)")
        for name in ["draining", "over"] {
          let seen = seen["counts"]["\(kind) \(name)"]
          #expect(seen["leaver"].int == nil && seen["stayer"].int ?? 0 >= 5, "node \(node): \(kind) \(name): \(seen)")
        }
      }
    }
  }
}
