import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

/// A worker, a client's way in, and Services whose endpoints are sockets of the test's: `shop/web` with as many as
/// wanted, others with one each.
final class HTTPLab {
  static let web = ServiceKey(namespace: "shop", name: "web")

  /// Workers that share their snapshot.
  let nodes: [TestNode]
  var node: TestNode { nodes[0] }
  let backends: [TestSocket]
  /// By the Service's name.
  private(set) var others: [String: TestSocket] = [:]
  private let entrances: [TestSocket]
  private let descriptors: Int
  private var peers: [HTTPPeer] = []

  /// - Parameters:
  ///   - speaking: the ports' `appProtocol`.
  ///   - dead: so many of `shop/web`'s endpoints refuse connections; they come behind the others.
  init(
    backends count: Int = 1, dead: Int = 0, others names: [String] = [], speaking: String = "http",
    routes: [Route] = [], policies: [TrafficPolicy] = [], workers: Int = 1
  ) throws {
    nodes = try (0..<workers).map { _ in try TestNode() }
    for node in nodes { try node.on { _ in } }
    descriptors = try Self.quietDescriptors()
    backends = try (0..<count).map { _ in try TestSocket.listening() }
    var update = MeshSnapshotUpdate()
    update.node = "one"
    update.now = EventLoop.clock()
    var ports = backends.map(\.address.port)
    for _ in 0..<dead {
      let closed = try TestSocket.listening()
      ports.append(closed.address.port)
      closed.close()
    }
    update.services = [Self.service("web", speaking)]
    update.workloads = ports.enumerated().map { Self.workload("web", $0.offset, port: $0.element) }
    for name in names {
      let backend = try TestSocket.listening()
      others[name] = backend
      update.services.append(Self.service(name, speaking))
      update.workloads.append(Self.workload(name, 0, port: backend.address.port))
    }
    update.routes = routes
    update.policies = policies
    try Self.apply(update, to: nodes)
    entrances = try nodes.map(Self.entrance)
  }

  private static func apply(_ update: MeshSnapshotUpdate, to nodes: [TestNode]) throws {
    try nodes[0].apply(update)
    let snapshot = try nodes[0].on { $0.snapshot }
    for node in nodes.dropFirst() { node.post(.snapshot(snapshot)) }
    for node in nodes { try node.on { _ in } }
  }

  /// Whose connections are served as captured ones to `shop/web` are.
  private static func entrance(of node: TestNode) throws -> TestSocket {
    node.addPod("shop/a")
    let listener = try TestSocket.listening(isBlocking: false)
    try node.on { worker in
      let pod = worker.pods["shop/a"]!
      pod.listeners.append(
        try TCPListener(fd: listener.fd, loop: worker.loop, report: { _ in }) { [unowned worker] fd, peer in
          guard let stream = worker.accept(fd) else { return }
          let client = HTTPClient(
            workload: "shop/a", identity: .of("a"), address: peer, service: HTTPLab.web, port: 80, family: .v4)
          guard let traffic = worker.snapshot.traffic(of: HTTPLab.web, port: 80) else { return stream.reset() }
          worker.serve(stream, traffic, client, Session.Facts(direction: .outbound, workload: "shop/a"))
        })
    }
    return listener
  }

  private static func service(_ name: String, _ speaking: String) -> Service {
    Service(
      key: ServiceKey(namespace: "shop", name: name), addresses: [], ports: [.init(port: 80, appProtocol: speaking)])
  }

  static func workload(_ service: String, _ index: Int, port: UInt16, isReady: Bool = true) -> Workload {
    Workload(
      id: "shop/\(service)-\(index)", namespace: "shop", name: "\(service)-\(index)", serviceAccount: "sa", node: "two",
      addresses: [IPAddress("127.0.0.1")!], isMeshed: false, isReady: isReady,
      memberships: [
        .init(
          service: ServiceKey(namespace: "shop", name: service), ports: [.init(servicePort: 80, targetPort: port)])
      ])
  }

  /// Once the threads of the test before have let go of theirs.
  private static func quietDescriptors() throws -> Int {
    var last = try openDescriptors()
    var unchanged = 0
    while unchanged < 25 {
      usleep(2000)
      let now = try openDescriptors()
      unchanged = now == last ? unchanged + 1 : 0
      last = now
    }
    return last
  }

  func change(_ body: (inout MeshSnapshotUpdate) -> Void) throws {
    var update = MeshSnapshotUpdate()
    update.node = "one"
    update.now = EventLoop.clock()
    body(&update)
    try Self.apply(update, to: nodes)
  }

  /// `shop/web`'s endpoint of that number becomes ready, or is so no more.
  func set(_ backend: Int, isReady: Bool) throws {
    let port = backends[backend].address.port
    try change { $0.workloads = [Self.workload("web", backend, port: port, isReady: isReady)] }
  }

  /// Where clients dial, by worker.
  var entranceAddresses: [SocketAddress] { entrances.map(\.address) }

  func connect() throws -> HTTPPeer { HTTPPeer(try connectRaw()) }
  func connectRaw() throws -> TestSocket { try TestSocket.connected(to: entrances[0].address) }

  private func peer(_ socket: TestSocket) -> HTTPPeer {
    let peer = HTTPPeer(socket)
    peers.append(peer)
    return peer
  }

  /// The next connection to an endpoint of `shop/web`, or of another Service.
  func accept(_ backend: Int = 0) throws -> HTTPPeer { peer(try backends[backend].accept()) }
  func accept(_ service: String) throws -> HTTPPeer {
    let backend = try #require(others[service])
    return peer(try backend.accept())
  }

  /// Whichever endpoint of `shop/web` is dialled next.
  func acceptAny() throws -> (index: Int, peer: HTTPPeer) {
    var polls = backends.map { pollfd(fd: $0.fd, events: Int16(POLLIN), revents: 0) }
    guard Glibc.poll(&polls, UInt(polls.count), 10_000) > 0, let index = polls.firstIndex(where: { $0.revents != 0 })
    else { throw SystemError(ETIMEDOUT, "wait for a connection") }
    return (index, try accept(index))
  }

  /// Whether no endpoint of `shop/web` is dialled within `milliseconds`.
  func isLeftAlone(for milliseconds: Int32 = 50) -> Bool {
    var polls = backends.map { pollfd(fd: $0.fd, events: Int16(POLLIN), revents: 0) }
    return Glibc.poll(&polls, UInt(polls.count), milliseconds) == 0
  }

  func count(_ resource: CircuitLimits.Resource) throws -> Int {
    try node.on {
      let traffic = $0.snapshot.traffic(of: HTTPLab.web, port: 80)
      return traffic?.policy(client: nil, routeID: nil).limits.count(of: resource) ?? -1
    }
  }

  /// Tries that the workers' balancers take to be under way.
  func outstanding() throws -> Int {
    try nodes.reduce(0) { sum, node in
      try sum
        + node.on { worker in
          worker.clusters.values.reduce(0) { sum, cluster in
            cluster.endpoints.endpoints.indices.reduce(sum) {
              $0 + cluster.endpoints.status(of: $1, now: worker.loop.now).outstanding
            }
          }
        }
    }
  }

  /// Once the clients have left: nothing is held any more, no slot and no descriptor.
  /// - Parameter threads: so many of the test's own `BackgroundResult`s still have theirs.
  func finish(threads: Int = 0) throws {
    #expect(try eventually { try nodes.allSatisfy { try $0.sessionCount == 0 } }, "connections remain")
    for resource in [CircuitLimits.Resource.requests, .pending, .retries] {
      #expect(try eventually { try count(resource) == 0 }, "\(resource) are held")
    }
    #expect(try outstanding() == 0, "tries are counted")
    for node in nodes { node.post(.removePod(id: "shop/a", runsOn: false)) }
    for peer in peers { peer.close() }
    for backend in backends { backend.close() }
    for backend in others.values { backend.close() }
    #expect(try eventually { try count(.connections) == 0 }, "connections are counted")
    var after = 0
    let isBack = try eventually {
      after = try openDescriptors()
      return after <= descriptors + threads
    }
    #expect(isBack, "\(descriptors) descriptors before, \(after) after")
    for node in nodes { node.stop() }
  }
}

extension Route {
  /// `shop/web`'s, with one rule for each pair of a path prefix and a backend's name.
  static func web(_ rules: [RouteRule], name: String = "r", hostnames: [String] = []) -> Route {
    Route(namespace: "shop", name: name, parents: [.init(service: HTTPLab.web)], hostnames: hostnames, rules: rules)
  }
}

extension RouteRule {
  static func to(
    _ service: String, path: String = "/", filters: [RouteFilter] = [], retry: RetryPolicy? = nil, invalid: String = ""
  ) -> RouteRule {
    RouteRule(
      matches: [RouteMatch(path: .prefix(path))], filters: filters,
      backends: [
        RouteBackend(service: ServiceKey(namespace: "shop", name: service), port: 80, invalid: invalid)
      ], retry: retry)
  }
}

extension TrafficPolicy {
  /// For all of `shop/web`; refusals say why.
  static func web(_ fill: (inout TrafficPolicy) -> Void) -> TrafficPolicy {
    var policy = TrafficPolicy(namespace: "shop", name: "p", targets: [Target(kind: .service(HTTPLab.web))])
    policy.headers = HeaderOptions(reason: true)
    fill(&policy)
    return policy
  }
}

extension RetryPolicy {
  /// Three tries more, at once as good as.
  static let soon = RetryPolicy(attempts: 3, statuses: [503, 504], backoff: 5, maximumBackoff: 10)
}
