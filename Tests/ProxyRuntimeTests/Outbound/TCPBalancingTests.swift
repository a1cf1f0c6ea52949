import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Connections of bytes go to a Service's endpoints as its policy says.
  @Suite struct TCPBalancingTests {
    private func lab(_ algorithm: LoadBalancer.Algorithm, backends: Int) throws -> HTTPLab {
      try HTTPLab(
        backends: backends, speaking: "tcp",
        policies: [.web { $0.loadBalancer = LoadBalancer(algorithm: algorithm) }])
    }

    /// Which endpoint the connection of one more client arrives at.
    private func endpoint(_ lab: HTTPLab, _ client: HTTPPeer) throws -> (index: Int, peer: HTTPPeer) {
      let arrived = try lab.acceptAny()
      try client.write("x")
      #expect(try arrived.peer.take(1) == [UInt8(ascii: "x")])
      return arrived
    }

    @Test func roundRobin() throws {
      let lab = try lab(.roundRobin, backends: 3)
      var clients: [HTTPPeer] = []
      var order: [Int] = []
      for _ in 0..<9 {
        clients.append(try lab.connect())
        order.append(try endpoint(lab, clients.last!).index)
      }
      #expect(Set(order[..<3]).count == 3)
      #expect(Array(order[3...]) == Array(order[..<6]))
      for client in clients { client.reset() }
      try lab.finish()
    }

    @Test(arguments: [LoadBalancer.Algorithm.leastRequest, .peakEWMA])
    func fewestConnections(algorithm: LoadBalancer.Algorithm) throws {
      let lab = try lab(algorithm, backends: 2)
      var held: [(index: Int, client: HTTPPeer)] = []
      for _ in 0..<10 {
        let client = try lab.connect()
        held.append((try endpoint(lab, client).index, client))
      }
      #expect(held.count { $0.index == 0 } == 5)
      for end in held.filter({ $0.index == 0 }).prefix(3) { end.client.reset() }
      #expect(try eventually { try lab.outstanding() == 7 })
      for _ in 0..<3 {
        let client = try lab.connect()
        held.append((try endpoint(lab, client).index, client))
      }
      #expect(held[10...].allSatisfy { $0.index == 0 })
      for end in held { end.client.reset() }
      try lab.finish()
    }

    @Test(arguments: [LoadBalancer.Algorithm.ringHash(.sourceAddress), .maglev(.sourceAddress)])
    func byTheSource(algorithm: LoadBalancer.Algorithm) throws {
      let lab = try lab(algorithm, backends: 4)
      var all: Set<Int> = []
      for source in 2..<14 {
        var seen: Set<Int> = []
        for _ in 0..<3 {
          let client = try lab.connect(from: "127.0.0.\(source)", worker: 0)
          seen.insert(try endpoint(lab, client).index)
          client.reset()
        }
        #expect(seen.count == 1)
        all.formUnion(seen)
      }
      #expect(all.count > 1)
      try lab.finish()
    }

    @Test func weights() throws {
      let lab = try lab(.roundRobin, backends: 2)
      var heavy = HTTPLab.workload("web", 0, port: lab.backends[0].address.port)
      heavy.weight = 3 * HTTPLab.workload("web", 1, port: 1).weight
      let changed = heavy
      try lab.change { $0.workloads = [changed] }
      var counts = [0, 0]
      for _ in 0..<16 {
        let client = try lab.connect()
        counts[try endpoint(lab, client).index] += 1
        client.reset()
      }
      #expect(counts == [12, 4])
      try lab.finish()
    }

    @Test func nearEndpointsGoFirst() throws {
      let lab = try HTTPLab(
        backends: 3, speaking: "tcp",
        policies: [
          .web {
            $0.loadBalancer = LoadBalancer(algorithm: .roundRobin)
            $0.locality = Locality()
          }
        ])
      var here = Workload.at("shop/a", "127.0.0.9")
      here.zone = "z"
      var near = HTTPLab.workload("web", 1, port: lab.backends[1].address.port)
      near.zone = "z"
      let changed = [here, near]
      try lab.change { $0.workloads = changed }
      for _ in 0..<6 {
        let client = try lab.connect()
        #expect(try endpoint(lab, client).index == 1)
        client.reset()
      }
      try lab.set(1, isReady: false)
      var seen: Set<Int> = []
      for _ in 0..<6 {
        let client = try lab.connect()
        seen.insert(try endpoint(lab, client).index)
        client.reset()
      }
      #expect(seen == [0, 2])
      try lab.finish()
    }

    /// A TCPRoute's backends by their weights, each with its own Service's policies.
    @Test func aRoutesBackends() throws {
      var rule = RouteRule()
      rule.backends = [
        RouteBackend(service: HTTPLab.web, port: 80, weight: 0),
        RouteBackend(service: HTTPLab.key("other"), port: 80, weight: 2),
      ]
      let lab = try HTTPLab(
        others: ["other"], speaking: "tcp",
        routes: [
          Route(kind: .tcp, namespace: "shop", name: "t", parents: [.init(service: HTTPLab.web)], rules: [rule])
        ],
        policies: [.of("other") { $0.circuitBreaker = CircuitBreaker(maxConnections: 2, maxPending: 0) }])
      let clients = try (0..<2).map { _ in try lab.connect() }
      for client in clients {
        let backend = try lab.accept("other")
        try backend.write("y")
        #expect(try client.take(1) == [UInt8(ascii: "y")])
      }
      let refused = try lab.connect()
      #expect(refused.socket.receiveError() != 0)
      #expect(lab.node.logged("failed: UO"))
      #expect(lab.isLeftAlone(for: 1))
      refused.close()
      for client in clients { client.reset() }
      #expect(try eventually { try lab.isFree("other") })
      try lab.finish()
    }
  }
}
