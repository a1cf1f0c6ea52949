import Foundation
import Testing

extension EndToEnd.ProtocolTests {
  @Test("large bodies arrive whole, and a slow reader costs the proxies no memory", arguments: places)
  func large(place: String) throws {
    let pids = try ["a", "b"].map { "\(try lab.proxy($0))" }.joined(separator: ",")
    let seen = try lab.facts(
      "client", "protocols/big.py", place, "-", pids, "down", "up", "down2", "stalled2", timeout: 90)
    for name in ["down", "up", "down2", "stalled2"] {
      #expect(seen[name]["whole"].bool == true, "\(name): \(seen[name])")
      // KiB, of at least 64 MiB that could have been sent.
      #expect(seen[name]["grown"].int ?? .max < 16 << 10, "\(name): \(seen[name])")
    }
    #expect(seen["stalled2"]["stopped"].int == 65_535 && seen["stalled2"]["other"].text == "whole")
  }

  @Test("two hundred changes of a route and a policy under load: no request fails, none sees half of one")
  func changes() throws {
    let path = "\(lab.folder)/config/changing.yaml"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try route(1).write(toFile: path, atomically: true, encoding: .utf8)
    wait(5, for: "the first route") {
      try lab.exec("client", ["curl", "-si", "http://changing/echo"]).output.contains("x-generation: 1\r\n")
    }
    let load = try lab.start("client", "protocols/changes.py", "changing", "200")
    for generation in 2...200 {
      // The control plane reads what has been quiet for 50 ms.
      usleep(70_000)
      try route(generation).write(toFile: path, atomically: true, encoding: .utf8)
    }
    let seen = try load.facts(within: 60)
    for name in ["failed", "closed", "mixed", "backwards"] { #expect(seen[name].int == 0, "\(name): \(seen)") }
    #expect(seen["reached"].int == 200, "\(seen)")
    #expect(seen["stream held"].bool == true && seen["streamed"].int ?? 0 > 100, "\(seen)")
    // On a busy machine the control plane takes several at once.
    #expect(seen["generations"].int ?? 0 >= 20, "\(seen)")
    #expect(seen["requests"].int ?? 0 >= 500, "\(seen)")
  }

  /// Stamps its number on requests and responses, and has one of two backends.
  private func route(_ generation: Int) -> String {
    let stamp = "{set: [{name: x-generation, value: \"\(generation)\"}]}"
    return """
      apiVersion: gateway.networking.k8s.io/v1
      kind: HTTPRoute
      metadata: {name: changing, namespace: shop}
      spec:
        parentRefs: [{group: "", kind: Service, name: changing, port: 80}]
        rules:
        - filters:
          - {type: RequestHeaderModifier, requestHeaderModifier: \(stamp)}
          - {type: ResponseHeaderModifier, responseHeaderModifier: \(stamp)}
          backendRefs: [{name: \(Self.places[generation % 2]), port: 80}]
      ---
      apiVersion: weft.dev/v1alpha1
      kind: TrafficPolicy
      metadata: {name: changing, namespace: shop}
      spec: {targetRefs: [{kind: Service, name: changing}], timeouts: {connect: \(1 + generation % 7)s}}
      """
  }
}
