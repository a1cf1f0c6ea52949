import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  @Suite struct BackendFilterTests {
    /// A backend's mirror copies what that backend gets, and nothing else.
    @Test func aBackendsMirror() throws {
      let copy = Mirror(service: ServiceKey(namespace: "shop", name: "copy"), port: 80)
      let filters: [RouteFilter] = [
        .requestHeaders(HeaderEdit(set: [.init(name: "x-backend", value: "new")])), .mirror(copy),
      ]
      func rule(_ path: String, _ backend: String, _ filters: [RouteFilter]) -> RouteRule {
        var rule = RouteRule.to(backend, path: path)
        rule.backends[0].filters = filters
        return rule
      }
      let lab = try HTTPLab(
        others: ["new", "copy"], routes: [.web([rule("/", "web", []), rule("/new", "new", filters)])])
      let client = try lab.connect()
      try client.get("/old")
      let old = try lab.accept()
      #expect(try old.read().target == "/old")
      try old.respond(200, "old")
      #expect(try client.read().text == "old")
      try client.post("/new", "content")
      let new = try lab.accept("new")
      #expect(try new.read()["x-backend"] == "new")
      let copied = try lab.accept("copy").read()
      #expect(copied.target == "/new" && copied.text == "content" && copied["x-backend"] == "new")
      try new.respond(200, "new")
      #expect(try client.read().text == "new")
      client.close()
      try lab.finish()
    }
  }

  @Suite struct ClientAffinityTests {
    @Test func connectionsOfAClientStayOnAnEndpoint() throws {
      let lab = try HTTPLab(backends: 4, speaking: "tcp")
      let service = Service(
        key: HTTPLab.web, addresses: [], ports: [.init(port: 80, appProtocol: "tcp")], hasClientAffinity: true)
      try lab.change { $0.services = [service] }
      var seen: Set<Int> = []
      var peers: [HTTPPeer] = []
      for _ in 0..<8 {
        peers.append(try lab.connect())
        let (index, backend) = try lab.acceptAny()
        seen.insert(index)
        peers.append(backend)
      }
      #expect(seen.count == 1)
      for peer in peers { peer.close() }
      try lab.finish()
    }
  }
}
