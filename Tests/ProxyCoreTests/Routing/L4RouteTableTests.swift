import MeshModel
import Testing

@testable import ProxyCore

@Suite struct L4RouteTableTests {
  private func table(_ routes: [Route]) -> L4RouteTable { L4RouteTable(routes: routes, service: .reviews, port: 80) }

  private func route(
    _ name: String, _ hostnames: [String] = [], kind: Route.Kind = .tls, created: Int64 = 0, namespace: String = "shop"
  ) -> Route {
    .sample(name, [name: RouteMatch()], hostnames: hostnames, created: created, namespace: namespace, kind: kind)
  }

  @Test(arguments: [
    ("a.example.com", "exact"), ("A.EXAMPLE.com.", "exact"), ("b.example.com", "short"), ("x.a.example.com", "long"),
    ("example.com", "any"), ("", "any"), ("a.example.com:80", "any"), (nil, "any"),
  ])
  func byTheServerName(_ name: String?, _ expected: String) {
    let table = table([
      route("any"), route("short", ["*.example.com"]), route("long", ["*.a.example.com"]),
      route("exact", ["a.example.com"]), route("tcp", kind: .tcp), route("http", kind: .http),
    ])
    #expect(table.match(.tls(serverName: name), clientNamespace: "shop")?.rule.name == expected)
  }

  @Test func aTCPRouteTakesEverythingWhereThereIsNoTLSRoute() {
    let tcp = route("tcp", kind: .tcp)
    let only = table([tcp])
    #expect(only.match(.tcp, clientNamespace: "")?.rule.name == "tcp")
    #expect(only.match(.tls(serverName: "b.example"), clientNamespace: "")?.rule.name == "tcp")
    // As the control plane's statuses have it.
    let both = table([tcp, route("tls", ["a.example"])])
    #expect(both.match(.tcp, clientNamespace: "") == nil)
    #expect(both.match(.tls(serverName: nil), clientNamespace: "") == nil)
    #expect(both.match(.tls(serverName: "a.example"), clientNamespace: "")?.rule.name == "tls")
    let alone = table([route("tls", ["a.example"])])
    #expect(alone.match(.tcp, clientNamespace: "") == nil)
    #expect(alone.match(.tls(serverName: "b.example"), clientNamespace: "") == nil)
    #expect(table([route("http", kind: .http)]).isEmpty)
  }

  @Test func theOldestThenTheFirstName() {
    let routes = [route("c", ["a.b"], created: 2), route("b", ["a.b"], created: 1), route("a", ["a.b"], created: 1)]
    #expect(table(routes).match(.tls(serverName: "a.b"), clientNamespace: "")?.route.name == "a")
    let plain = [route("d", kind: .tcp, created: 2), route("e", kind: .tcp, created: 1)]
    #expect(table(plain).match(.tcp, clientNamespace: "")?.route.name == "e")
  }

  @Test func consumerRoutesHoldForTheirNamespaceOnly() {
    let table = table([route("producer", kind: .tcp), route("consumer", kind: .tcp, namespace: "client")])
    #expect(table.match(.tcp, clientNamespace: "client")?.rule.name == "consumer")
    #expect(table.match(.tcp, clientNamespace: "other")?.rule.name == "producer")
    #expect(self.table([route("x", kind: .tcp, namespace: "client")]).group(clientNamespace: "other") == nil)
  }
}
