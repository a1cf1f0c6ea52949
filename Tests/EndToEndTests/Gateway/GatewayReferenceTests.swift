import Foundation
import Testing

/// References between objects: grants, conflicts, what leads nowhere; told in status.json and by `weft status`.
extension EndToEnd.GatewayTests {
  private func grant(to name: String? = nil, kind: String = "HTTPRoute") -> String {
    """
    apiVersion: gateway.networking.k8s.io/v1beta1
    kind: ReferenceGrant
    metadata: {name: \(name ?? "all"), namespace: island}
    spec:
      from: [{group: gateway.networking.k8s.io, kind: \(kind), namespace: harbor}]
      to: [{group: "", kind: Service\(name.map { ", name: \($0)" } ?? "")}]
    """
  }

  @Test("a backend in another namespace needs a ReferenceGrant, from its coming to its going")
  func referenceGrant() throws {
    let rules = """
      - matches: [{path: {value: /abroad}}]
        backendRefs: [{name: guest, namespace: island, port: 80}]
      - backendRefs: [{name: one, port: 8080}]
      """
    try with(route(rules)) {
      try expect([(.get("/abroad"), .status(500)), (.get("/"), .from("one"))])
      expectCondition("Accepted", "True/Accepted", of: "case")
      expectCondition("ResolvedRefs", "False/RefNotPermitted", of: "case", saying: "island")
      for yaml in [grant(to: "other"), grant(kind: "TLSRoute")] {
        try with(yaml) {
          try expect([(.get("/abroad"), .status(500))])
          expectCondition("ResolvedRefs", "False/RefNotPermitted", of: "case")
        }
      }
      for yaml in [grant(), grant(to: "guest")] {
        try with(yaml) {
          try expect([(.get("/abroad"), .from("guest")), (.get("/"), .from("one"))])
          expectCondition("ResolvedRefs", "True/ResolvedRefs", of: "case")
        }
        try expect([(.get("/abroad"), .status(500)), (.get("/"), .from("one"))])
        expectCondition("ResolvedRefs", "False/RefNotPermitted", of: "case")
      }
    }
  }

  @Test("of two routes in conflict the oldest wins, the other says so; when it goes the other takes over")
  func conflict() throws {
    let younger = route(
      "aaa", kind: "TCPRoute", port: 9090, metadata: ", creationTimestamp: \"2025-05-05T00:00:00Z\"",
      "- backendRefs: [{name: two, port: 9090}]")
    let older = route(
      "zzz", kind: "TCPRoute", port: 9090, metadata: ", creationTimestamp: \"2021-05-05T00:00:00Z\"",
      "- backendRefs: [{name: one, port: 9090}]")
    let line = Call(protocol: "line", port: 9090)
    try with(younger) {
      wait(5, for: "all to go to two") { try tally(line, 20) == ["two": 20] }
      try with(older) {
        wait(5, for: "the older to win") { try tally(line, 20) == ["one": 20] }
        expectCondition("Accepted", "True/Accepted", of: "zzz", kind: "TCPRoute")
        expectCondition("Accepted", "False/Conflicted", of: "aaa", kind: "TCPRoute", saying: "TCPRoute harbor/zzz")
        let told = try lab.weft("a", "status", "--control-status", statusFile).output
        #expect(told.contains("harbor/aaa") && told.contains("Conflicted"), "\(told)")
      }
      wait(5, for: "the younger to take over") { try tally(line, 20) == ["two": 20] }
      expectCondition("Accepted", "True/Accepted", of: "aaa", kind: "TCPRoute")
    }
  }

  @Test("an HTTPRoute and a GRPCRoute with the same host names are in conflict")
  func kindsInConflict() throws {
    let both =
      route(
        "calls", kind: "GRPCRoute", port: 7070, metadata: ", creationTimestamp: \"2021-05-05T00:00:00Z\"",
        "- backendRefs: [{name: one, port: 7070}]") + "\n---\n"
      + route(
        "requests", port: 7070, metadata: ", creationTimestamp: \"2022-05-05T00:00:00Z\"",
        "- backendRefs: [{name: two, port: 7070}]")
    try with(both) {
      try expect([(.grpc(), .reply(from: "one"))])
      expectCondition("Accepted", "True/Accepted", of: "calls", kind: "GRPCRoute")
      expectCondition("Accepted", "False/Conflicted", of: "requests", saying: "GRPCRoute harbor/calls")
    }
  }

  @Test("routes whose parent leads nowhere hold for nothing and say so; `weft status` too; the rest goes on")
  func nowhere() throws {
    let yaml = [
      route("lost", of: "nowhere", "- backendRefs: [{name: one, port: 8080}]"),
      route("portless", port: 4711, "- backendRefs: [{name: one, port: 8080}]"),
      route("good", "- backendRefs: [{name: two, port: 8080}]"),
      // A route that refers to itself as far as it can: to its own parent.
      route("circle", of: "two", "- backendRefs: [{name: two, port: 80}]"),
    ].joined(separator: "\n---\n")
    try with(yaml) {
      try expect([(.get(), .from("two")), (.get(to: "two"), .from("two"))])
      expectCondition("Accepted", "False/NoMatchingParent", of: "lost", saying: "no Service harbor/nowhere")
      expectCondition("Accepted", "False/NoMatchingParent", of: "portless", saying: "no TCP port 4711")
      expectCondition("Accepted", "True/Accepted", of: "good")
      expectCondition("ResolvedRefs", "True/ResolvedRefs", of: "good")
      expectCondition("Accepted", "True/Accepted", of: "circle")
      let told = try lab.weft("a", "status", "--control-status", statusFile).output
      for part in ["harbor/lost", "harbor/portless", "NoMatchingParent", "harbor/good"] {
        #expect(told.contains(part), "\(part): \(told)")
      }
      let inForce = try lab.weft("b", "routes").output
      #expect(inForce.contains("harbor/good") && inForce.contains("harbor/circle"), "\(inForce)")
      #expect(!inForce.contains("harbor/lost") && !inForce.contains("harbor/portless"), "\(inForce)")
    }
  }

  @Test("Services that send to each other by routes in a circle: a request is routed once")
  func circle() throws {
    let both =
      route("there", of: "one", "- backendRefs: [{name: two, port: 80}]") + "\n---\n"
      + route("back", of: "two", "- backendRefs: [{name: one, port: 80}]")
    try with(both) {
      try expect([(.get(to: "one"), .from("two")), (.get(to: "two"), .from("one"))])
    }
  }
}
