import Foundation
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

/// What `weft routes`, `weft policies` and `weft endpoints` show.
extension RuntimeTests {
  @Suite struct TrafficListTests {
    private let web = ServiceKey(namespace: "shop", name: "web")

    // MARK: Routes

    private func route(_ name: String, rules: Int, namespace: String = "shop") -> Route {
      Route(
        namespace: namespace, name: name, parents: [.init(service: web)],
        rules: (0..<rules).map { _ in RouteRule(backends: [RouteBackend(service: web, port: 80)]) })
    }

    @Test func routesSayWhatHolds() throws {
      let rule = RouteRule(
        matches: [
          RouteMatch(
            path: .exact("/a"), headers: [.init(name: "x", value: "1")],
            queryParameters: [.init(name: "q", value: "b+", isRegularExpression: true)], method: "GET"),
          RouteMatch(path: .regularExpression("/c.*")), RouteMatch(path: .prefix("/d")),
        ],
        filters: [
          .requestHeaders(HeaderEdit(set: [.init(name: "s", value: "v")], remove: ["r"])),
          .redirect(Redirect(scheme: "https", port: 8443, path: .replacePrefix("/n"), status: 301)),
          .rewrite(Rewrite(hostname: "h", path: .replaceFull("/p"))),
          .mirror(Mirror(service: web, port: 80, numerator: 1, denominator: 3, invalid: "gone")),
          .cors(CORS(allowOrigins: ["https://a", "https://b"])),
        ], backends: [RouteBackend(service: web, port: 80, weight: 7, invalid: "no such port")],
        requestTimeout: 5000, backendRequestTimeout: 1500)
      var shown = Route(
        kind: .grpc, namespace: "client", name: "r",
        parents: [.init(service: web, port: 80), .init(service: ServiceKey(namespace: "client", name: "own"))],
        hostnames: ["a.example"], rules: [rule])
      shown.rules.append(RouteRule())
      let entry = try #require(RouteList([shown], bound: 10).routes.first)
      #expect(entry.kind == "GRPCRoute" && entry.namespace == "client" && entry.name == "r" && entry.rule_count == 2)
      #expect(entry.parents.map(\.service) == ["shop/web", "client/own"])
      #expect(entry.parents.map(\.port) == [80, nil] && entry.parents.map(\.role) == ["consumer", "producer"])
      #expect(entry.hostnames == ["a.example"])
      #expect(entry.rules[0].matches == ["GET = /a and header x = 1 and query q ~ b+", "~ /c.*", "/d"])
      #expect(
        entry.rules[0].filters == [
          "request headers: set s, remove r", "redirect 301 to https://:8443, prefix to /n",
          "rewrite host to h, path to /p", "mirror 1 of 3 to shop/web:80 (invalid: gone)",
          "CORS for https://a, https://b",
        ])
      #expect(entry.rules[0].settings == ["request 5s", "try 1500ms"])
      #expect(entry.rules[0].backends.first?.invalid == "no such port" && entry.rules[0].backends.first?.weight == 7)
      #expect(entry.rules[1].matches.isEmpty && entry.rules[1].backend_count == 0)
    }

    @Test func listsOfRoutesAreBounded() {
      let list = RouteList(
        [route("a", rules: 3), route("b", rules: 0), route("c", rules: 9), route("d", rules: 1)], bound: 6)
      #expect(list.total == 4 && list.routes.map(\.name) == ["a", "b", "c"])
      #expect(list.routes.map(\.rules.count) == [3, 0, 2] && list.routes.last?.rule_count == 9)
      let long = RouteMatch(path: .prefix("/" + String(repeating: "x", count: 5000)))
      let rule = RouteRule(
        matches: Array(repeating: long, count: 1000),
        backends: Array(repeating: RouteBackend(service: web, port: 80), count: 1000))
      let huge = RouteList([Route(namespace: "shop", name: "r", parents: [], rules: [rule])], bound: 6).routes[0].rules[
        0]
      #expect(huge.matches.count == 17 && huge.matches.last == "and 984 more")
      #expect(huge.matches[0].count == 200 && huge.matches[0].hasSuffix("…"))
      #expect(huge.backends.count == 16 && huge.backend_count == 1000)
    }

    // MARK: Policies

    @Test func policiesSayWhatIsSet() throws {
      var policy = TrafficPolicy(
        namespace: "shop", name: "p",
        targets: [
          .init(kind: .service(web)), .init(kind: .service(web), port: 80), .init(kind: .route("HTTPRoute/shop/r")),
        ], clients: ["a/b"])
      policy.loadBalancer = LoadBalancer(algorithm: .ringHash(.cookie("c", ttl: 60)), slowStart: 30_000)
      policy.locality = Locality()
      policy.sessionPersistence = SessionPersistence(
        name: "s", absoluteTimeout: 60, idleTimeout: 9, isPermanent: true)
      policy.timeouts = Timeouts(request: 5000, connect: 250)
      policy.retry = RetryPolicy(attempts: 2, retriesNonIdempotent: true)
      policy.retryBudget = RetryBudget()
      policy.hedging = Hedging()
      policy.circuitBreaker = CircuitBreaker(maxConnections: 10, maxRetries: 3)
      policy.outlierDetection = OutlierDetection(successRateDeviation: 1900, latencyPercent: 300)
      policy.rateLimits = [RateLimit(keys: [.clientIdentity, .header("h")], requests: 100, burst: 20)]
      policy.adaptiveConcurrency = AdaptiveConcurrency()
      policy.faults = [
        Fault(effect: .delay(100), perTenThousand: 1025, header: .init(name: "x", value: "1")),
        Fault(effect: .abort(503), perTenThousand: 50),
      ]
      policy.headers = HeaderOptions(via: true)
      let entry = try #require(PolicyList([policy], bound: 10).policies.first)
      #expect(entry.targets == ["shop/web", "shop/web:80", "HTTPRoute/shop/r"] && entry.clients == ["a/b"])
      #expect(
        entry.settings.map { "\($0.name): \($0.value)" } == [
          "loadBalancer: ring hash by cookie c, set for 60s, slow start 30s",
          "locality: the nearest first, overprovisioning 140%, panic below 50%",
          "sessionPersistence: cookie s, 60s, idle 9s, permanent",
          "timeouts: request 5s, connect 250ms",
          "retry: 2 times on 502, 503, 504, gRPC 14, connect failure, reset; backoff 25ms to 250ms; any method; "
            + "bodies up to 65536 bytes", "retryBudget: 20% of the requests in 10s, at least 10 in 1s",
          "hedging: after the 95th percentile, 5ms at least", "circuitBreaker: 10 connections, 3 retries",
          "outlierDetection: 5 errors in a row, success rate 1.900 deviations below the mean, latency over 300% of the "
            + "median; ejected for 30s to 300s, at most 10%; every 10s",
          "adaptiveConcurrency: 4 to 1000 requests", "rateLimits: 100 in 1s, burst 20, for each client and header h",
          "faults: delay 100ms for 10.25% where header x = 1", "faults: abort 503 for 0.5%",
          "headers: x-forwarded-for on, via on, x-request-id on, weft-reason off",
        ])
      let bare = TrafficPolicy(namespace: "shop", name: "bare", targets: [.init(kind: .service(web))])
      var plain = bare
      plain.headers = HeaderOptions()
      #expect(PolicyList([plain], bound: 1).policies.first?.settings.map(\.name) == ["headers"])
      let list = PolicyList([bare, policy, policy], bound: 2)
      #expect(list.total == 3 && list.policies.count == 2 && list.policies[0].settings.isEmpty)
    }

    // MARK: Endpoints

    private func workload(_ name: String, _ addresses: String..., node: String = "one", services: [String] = ["web"])
      -> Workload
    {
      var workload = Workload.at("shop/\(name)", addresses[0])
      workload.addresses = addresses.map { IPAddress($0)! }
      workload.node = node
      workload.memberships = services.map {
        .init(
          service: ServiceKey(namespace: "shop", name: $0), ports: [.init(servicePort: 80, targetPort: 8080)])
      }
      return workload
    }

    private func snapshot(_ workloads: [Workload], services: [String] = ["web"], address: String = "10.96.0.1")
      -> MeshSnapshotUpdate
    {
      var update = snapshotUpdate(workloads)
      update.services = services.map {
        Service(
          key: ServiceKey(namespace: "shop", name: $0), addresses: [IPAddress(address)!],
          ports: [.init(port: 80, name: "http"), .init(port: 53, transport: .udp)])
      }
      return update
    }

    @Test func whatNoRequestHasUsedHasNoLoad() {
      var away = workload("b", "10.0.0.2", node: "two")
      away.isDraining = true
      away.isReady = false
      away.weight = 5
      var bare = workload("c", "10.0.0.3", node: "three")
      bare.isMeshed = false
      let mesh = MeshSnapshot().applying(snapshot([workload("a", "10.0.0.1"), away, bare]))
      let list = EndpointList([], mesh, pods: ["shop/a"], service: nil, bound: 10)
      #expect(!list.truncated && list.endpoints.map(\.workload) == ["shop/a", "shop/b", "shop/c"])
      #expect(list.endpoints.map(\.address) == ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"])
      #expect(list.endpoints.map(\.transport) == ["delivery", "tunnel", "plaintext"])
      #expect(list.endpoints.map(\.locality) == ["node", "other", "other"])
      #expect(list.endpoints.map(\.ready) == [true, false, true] && list.endpoints.map(\.weight) == [1, 5, 1])
      #expect(list.endpoints.map(\.draining) == [false, true, false])
      #expect(list.endpoints.allSatisfy { $0.balancers == 0 && $0.latency_ms == nil && $0.ejected_seconds == nil })
      #expect(
        EndpointList([], mesh, pods: [], service: ServiceKey(namespace: "shop", name: "no"), bound: 10).endpoints
          .isEmpty)
    }

    @Test func loadsOfWorkersAreJoined() throws {
      let mesh = MeshSnapshot().applying(snapshot([workload("a", "10.0.0.1"), workload("b", "10.0.0.2")]))
      let address = SocketAddress(IPAddress("10.0.0.1")!, 8080)
      let key = EndpointLoad.Key(service: web, port: 80, address: address)
      func report(_ status: EndpointStatus) -> WorkerReport {
        var report = WorkerReport()
        report.endpoints = [EndpointLoad(key: key, status, isOfConnections: false, now: .seconds(100))]
        let ofConnections = EndpointStatus(
          isUsable: true, ejectedUntil: nil, ejections: 0, outstanding: 1, latency: .seconds(9))
        report.endpoints.append(EndpointLoad(key: key, ofConnections, isOfConnections: true, now: .seconds(100)))
        return report
      }
      let reports = [
        report(.init(isUsable: true, ejectedUntil: nil, ejections: 1, outstanding: 2, latency: .milliseconds(1))),
        report(
          .init(isUsable: true, ejectedUntil: .seconds(130), ejections: 2, outstanding: 3, latency: 2_504_000)),
        report(.init(isUsable: false, ejectedUntil: .seconds(110), ejections: 1, outstanding: 0, latency: nil)),
        // Over.
        report(.init(isUsable: false, ejectedUntil: .seconds(99), ejections: 1, outstanding: 0, latency: nil)),
      ]
      let list = EndpointList(reports, mesh, pods: [], service: web, bound: 10)
      let entry = try #require(list.endpoints.first)
      #expect(entry.balancers == 8 && entry.ejected == 2 && entry.ejected_seconds == 30 && entry.panicking == 1)
      #expect(entry.ejections == 2 && entry.requests == 5 && entry.connections == 4 && entry.latency_ms == 2.5)
      #expect(list.endpoints.count == 2 && list.endpoints[1].balancers == 0)
    }

    @Test func bothFamiliesStandOnce() {
      let mesh = MeshSnapshot().applying(snapshot([workload("a", "10.0.0.1", "fd00::1"), workload("b", "10.0.0.2")]))
      #expect(
        EndpointList([], mesh, pods: [], service: web, bound: 10).endpoints.map(\.address) == [
          "10.0.0.1:8080", "10.0.0.2:8080",
        ])
      // Asked for by an IPv6 client, by way of another Service's route.
      var report = WorkerReport()
      let key = EndpointLoad.Key(service: web, port: 80, address: SocketAddress(IPAddress("fd00::1")!, 8080))
      report.endpoints = [EndpointLoad(key: key)]
      #expect(
        EndpointList([report], mesh, pods: [], service: web, bound: 10).endpoints.map(\.address) == [
          "10.0.0.1:8080", "10.0.0.2:8080", "[fd00::1]:8080",
        ])
    }

    @Test func listsOfEndpointsAreBounded() {
      let workloads = (1...9).map { workload("a\($0)", "10.0.0.\($0)", services: ["v", "web"]) }
      let mesh = MeshSnapshot().applying(snapshot(workloads, services: ["v", "web"]))
      func list(_ bound: Int, _ service: ServiceKey? = nil) -> EndpointList {
        EndpointList([], mesh, pods: [], service: service, bound: bound)
      }
      #expect(list(18).endpoints.count == 18 && !list(18).truncated)
      #expect(list(17).endpoints.count == 17 && list(17).truncated)
      #expect(list(9).endpoints.allSatisfy { $0.service == "shop/v" } && list(9).truncated)
      #expect(list(9, web).endpoints.count == 9 && !list(9, web).truncated)
    }

    @Test func aWorkerTellsItsClusters() throws {
      let node = try TestNode()
      defer { node.stop() }
      node.addPod("shop/a")
      try node.apply(snapshot([workload("a", "10.0.0.1"), workload("b", "10.0.0.2")], services: ["v", "web"]))
      let web = web
      let now = try node.on { worker in
        for client in ["a", "b"] {
          // As where policies differ by client.
          let key = Cluster.Key(service: web, port: 80, family: .v4, client: .of(client))
          let cluster = Cluster(key: key)
          worker.clusters[key] = cluster
          cluster.refresh(worker, here: nil)
          _ = cluster.endpoints.started(0)
        }
        _ = worker.cluster(ServiceKey(namespace: "shop", name: "v"), 80, .v4, client: nil)
        return worker.loop.now
      }
      #expect(now > 0)
      let report = try node.on { $0.report(ReportScope(what: "endpoints", service: "")) }
      let loads = report.endpoints.sorted { $0.key.address.description < $1.key.address.description }
      #expect(loads.map(\.key.service) == [web, web], "a cluster without a request has nothing to tell")
      #expect(loads.map(\.balancers) == [2, 2] && loads.map(\.outstanding) == [2, 0])
      let other = ReportScope(what: "endpoints", service: "shop/v")
      #expect(try node.on { $0.report(other).endpoints.isEmpty })
      #expect(try node.on { $0.report().endpoints.isEmpty }, "not gathered where nobody asks for it")
    }

    @Test func connectionsOfHTTPStandBesideSessions() throws {
      let node = try TestNode()
      defer { node.stop() }
      node.addPod("shop/a")
      final class Connection: HTTPConnection {
        let facts = Session.Facts(direction: .outbound, workload: "shop/a")
        let opened: NanoTime
        init(opened: NanoTime) { self.opened = opened }
        var announcesItsEnd: Bool { false }
        func drain() {}
        func abort() {}
        func closeIfIdle(now: NanoTime) {}
      }
      let report = try node.on { worker in
        let connection = Connection(opened: worker.loop.now - .seconds(2))
        worker.connections[ObjectIdentifier(connection)] = connection
        worker.statistics.requests = 5
        worker.statistics.retries = 2
        worker.statistics.localReplies = 1
        return worker.report()
      }
      let dump = ProxyDump(reports: [report, report], snapshot: MeshSnapshot())
      let json = String(decoding: dump.json("connections"), as: UTF8.self)
      #expect(
        json.contains(#""total":2"#) && json.contains(#""protocol":"http/1.1""#) && json.contains(#""age_seconds":2"#))
      #expect(!json.contains("bytes_sent") && !json.contains(#""id""#))
      let statistics = String(decoding: dump.json("statistics"), as: UTF8.self)
      #expect(
        statistics.contains(#""requests":10"#) && statistics.contains(#""retries":4"#)
          && statistics.contains(#""local_replies":2"#))
    }
  }
}
