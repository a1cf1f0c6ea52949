import CLinux
import Glibc
import MeshModel
import ProxyCore

@testable import ProxyRuntime

/// What is counted and known of a lab's Services, and changes of them.
extension HTTPLab {
  static func key(_ name: String) -> ServiceKey { ServiceKey(namespace: "shop", name: name) }

  /// By the limits that hold for all clients of another Service.
  func count(_ resource: CircuitLimits.Resource, of service: String) throws -> Int {
    try node.on {
      let traffic = $0.snapshot.traffic(of: Self.key(service), port: 80)
      return traffic?.policy(client: nil, routeID: nil).limits.count(of: resource) ?? -1
    }
  }

  /// Whether nothing of a Service's is taken.
  func isFree(_ service: String = "web") throws -> Bool {
    try CircuitLimits.Resource.allCases.allSatisfy { try count($0, of: service) == 0 }
  }

  /// Endpoints of `shop/web` that the first worker sees ejected, over all of its clusters.
  func ejected() throws -> Int {
    try node.on { worker in
      worker.clusters.values.reduce(0) { sum, cluster in
        sum
          + cluster.endpoints.endpoints.indices.count { index in
            (cluster.endpoints.status(of: index, now: worker.loop.now).ejectedUntil ?? 0) > EventLoop.clock()
          }
      }
    }
  }

  func use(_ policies: TrafficPolicy...) throws { try change { $0.policies = policies } }

  /// A client from another address of the loopback, or at another worker.
  func connect(from source: String? = nil, worker: Int) throws -> HTTPPeer {
    HTTPPeer(try .connected(to: entranceAddresses[worker], from: source))
  }

  /// A client's connection of HTTP/2 that knows what it may do.
  func talk(worker: Int = 0) throws -> HTTP2Talker {
    let talker = try HTTP2Talker(try connect(worker: worker), .client, streams: 256)
    try talker.readSome()
    return talker
  }

  /// The next connection of HTTP/2 to an endpoint.
  func listen(_ backend: Int = 0, streams: Int = 100) throws -> HTTP2Talker {
    try HTTP2Talker(try accept(backend), .server, streams: streams)
  }
}

extension TrafficPolicy {
  /// For a Service of the lab, or a route of `shop/web`'s, or both.
  static func of(
    _ service: String? = nil, route: String? = nil, name: String = "q", clients: [String] = [],
    _ fill: (inout TrafficPolicy) -> Void
  ) -> TrafficPolicy {
    var targets: [Target] = []
    if let service { targets.append(Target(kind: .service(HTTPLab.key(service)))) }
    if let route { targets.append(Target(kind: .route("HTTPRoute/shop/\(route)"))) }
    var policy = TrafficPolicy(namespace: "shop", name: name, targets: targets, clients: clients)
    policy.headers = HeaderOptions(reason: true)
    fill(&policy)
    return policy
  }
}

/// An address whose connections are never answered: a listener with a full backlog.
struct SilentAddress {
  private let full: TestSocket
  private let filling: [Int32]
  var address: SocketAddress { full.address }

  init() throws {
    let full = try TestSocket.listening(backlog: 0)
    self.full = full
    filling = try (0..<3).map { _ in
      let fd = try TestSocket.pooled()
      _ = Socket.connect(fd, to: full.address)
      return fd
    }
  }

  func close() {
    for fd in filling { Glibc.close(fd) }
    full.close()
  }
}
