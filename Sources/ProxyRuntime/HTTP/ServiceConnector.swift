import MeshModel
import ProxyCore

/// Connections to a Service's port, by what it speaks.
extension Worker {
  func serve(_ stream: any ByteStream, _ traffic: PortTraffic, _ client: HTTPClient, _ facts: Session.Facts) {
    switch traffic.appProtocol {
    case .tcp: carry(stream, .tcp, traffic, client, facts)
    case .tls where traffic.connections.isEmpty: carry(stream, .tcp, traffic, client, facts)
    case .http, .http2, .grpc, .tls:
      sniff(stream, patience: nil, traffic, client, facts)
    case .unknown: sniff(stream, patience: ProtocolSniff.patience, traffic, client, facts)
    }
  }

  private func sniff(
    _ stream: any ByteStream, patience: NanoTime?, _ traffic: PortTraffic, _ client: HTTPClient,
    _ facts: Session.Facts
  ) {
    guard probes.count < Self.sessionsBound else { return stream.reset() }
    let probe = ProtocolSniff(stream: stream, workload: client.workload, loop: loop, patience: patience) {
      [unowned self] probe, verdict in
      probes[ObjectIdentifier(probe)] = nil
      guard let verdict else { return finishDraining() }
      begin(stream, verdict, probe, traffic, client, facts)
    }
    probes[ObjectIdentifier(probe)] = probe
    probe.start()
  }

  private func begin(
    _ stream: any ByteStream, _ verdict: SniffedProtocol, _ probe: ProtocolSniff, _ traffic: PortTraffic,
    _ client: HTTPClient, _ facts: Session.Facts
  ) {
    let bytes = probe.bytes
    let hasEnded = probe.hasEnded
    switch verdict {
    case .http1 where traffic.appProtocol != .tls: serveHTTP1(stream, bytes, client, facts, hasEnded: hasEnded)
    case .http2 where traffic.appProtocol != .tls: serveHTTP2(stream, bytes, client, facts, hasEnded: hasEnded)
    case .tls(let serverName, _):
      carry(stream, .tls(serverName: serverName), traffic, client, facts, first: bytes, hasEnded: hasEnded)
    default:
      // A port that says HTTP is answered as such, so that its client learns what is wrong.
      if traffic.appProtocol == .http {
        serveHTTP1(stream, bytes, client, facts, hasEnded: hasEnded)
      } else if traffic.appProtocol == .http2 || traffic.appProtocol == .grpc {
        serveHTTP2(stream, bytes, client, facts, hasEnded: hasEnded)
      } else {
        carry(stream, .tcp, traffic, client, facts, first: bytes, hasEnded: hasEnded)
      }
    }
  }

  private func serveHTTP1(
    _ stream: any ByteStream, _ first: [UInt8], _ client: HTTPClient, _ facts: Session.Facts, hasEnded: Bool
  ) {
    guard connections.count < Self.sessionsBound else { return stream.reset() }
    statistics.accepted += 1
    let connection = HTTP1Downstream(stream: stream, client: client, facts: facts, worker: self) {
      [unowned self] in forget($0)
    }
    connections[ObjectIdentifier(connection)] = connection
    first.withUnsafeBytes { connection.start(with: $0) }
    // The stream tells it once.
    if hasEnded { connection.ended(.downstream) }
  }

  private func serveHTTP2(
    _ stream: any ByteStream, _ first: [UInt8], _ client: HTTPClient, _ facts: Session.Facts, hasEnded: Bool
  ) {
    guard connections.count < Self.sessionsBound else { return stream.reset() }
    statistics.accepted += 1
    let connection = HTTP2Downstream(stream: stream, client: client, facts: facts, worker: self) {
      [unowned self] in forget($0)
    }
    connections[ObjectIdentifier(connection)] = connection
    first.withUnsafeBytes { connection.start(with: $0) }
    if hasEnded { connection.transport.ended(.downstream) }
  }

  private func forget(_ connection: any HTTPConnection) {
    connections[ObjectIdentifier(connection)] = nil
    loop.retire(connection)
    finishDraining()
  }

  /// A stream of bytes, by the TCPRoute or TLSRoute that takes it, else to the Service.
  private func carry(
    _ stream: any ByteStream, _ kind: L4RouteTable.Connection, _ traffic: PortTraffic, _ client: HTTPClient,
    _ facts: Session.Facts, first: [UInt8] = [], hasEnded: Bool = false
  ) {
    var (service, port) = (client.service, client.port)
    var route: Cluster.Key.Route?
    if let group = traffic.connections.group(clientNamespace: client.identity?.namespace ?? "") {
      guard let rule = group.match(kind) else { return refuse(stream, facts, .noRoute) }
      guard let drawn = rule.backend(using: &loop.random), rule.rule.backends[drawn].invalid.isEmpty else {
        return refuse(stream, facts, .noCluster)
      }
      (service, port) = (rule.rule.backends[drawn].service, rule.rule.backends[drawn].port)
      route = Cluster.Key.Route(id: rule.routeID, service: client.service, port: client.port)
    }
    guard let session = makeSession(facts, downstream: stream) else { return stream.reset() }
    session.idleTimeout = traffic.policy(client: client.identity, routeID: route?.id).idleTimeout
    first.withUnsafeBytes { session.begin(with: $0, hasEnded: hasEnded) }
    let cluster = cluster(
      service, port, client.family, client: client.identity, route: route, isOfConnections: true)
    cluster.refresh(self, here: snapshot.workload(id: client.workload))
    ServiceDial(session, client, cluster, worker: self).start()
  }

  private func refuse(_ stream: any ByteStream, _ facts: Session.Facts, _ flag: ResponseFlag) {
    log(.info, "\(facts.source) to \(facts.destination) refused: \(flag.rawValue): \(flag.reason)")
    statistics.refused += 1
    stream.reset()
  }
}

/// A connection of HTTP as its worker keeps it.
protocol HTTPConnection: AnyObject {
  var facts: Session.Facts { get }
  var opened: NanoTime { get }
  /// Its requests are finished, and no new ones taken.
  func drain()
  /// Whether a client learns of the drain before it could send another request.
  var announcesItsEnd: Bool { get }
  /// Ends it at once.
  func abort()
  /// Closes it if no byte has moved for longer than its policy allows.
  func closeIfIdle(now: NanoTime)
}
