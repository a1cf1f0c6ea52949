import Glibc
import MeshModel
import ProxyCore

@testable import ProxyRuntime

/// Two nodes: the pod `shop/a` on one, `shop/b` with an application on the other, and mTLS between them.
struct TunnelPair: Sendable {
  static let clientAddress = "127.77.0.1"
  static let serverAddress = "127.77.0.2"

  let client: TestNode
  let server: TestNode
  private let workloads: [Workload]
  /// What the agent holds; each proxy has a descriptor of its own.
  private let listener: TestSocket
  /// Where the application of `shop/b` listens.
  let application: TestSocket
  /// Dialled by the application of `shop/a`.
  let entrance: SocketAddress

  init(client clientIdentity: TLSIdentity? = nil, server serverIdentity: TLSIdentity? = nil) throws {
    let mesh = try TestAuthority.mesh.get()
    workloads = [
      Workload.at("shop/a", Self.clientAddress), .at("shop/b", Self.serverAddress), .at("shop/c", "127.77.0.3"),
    ]
    listener = try TestSocket.listening(Self.serverAddress, MeshPort.hbone, isBlocking: false)
    server = try Self.server(workloads, try serverIdentity ?? mesh.identity("b"), listener)

    client = try TestNode()
    try client.apply(snapshotUpdate(workloads))
    client.post(.identity(try clientIdentity ?? mesh.identity("a")))
    client.addPod("shop/a", source: Self.clientAddress)
    application = try TestSocket.listening(Self.serverAddress)
    entrance = try Self.entrance(of: client, to: application.address)
  }

  private static func server(
    _ workloads: [Workload], _ identity: TLSIdentity, _ listener: TestSocket
  ) throws -> TestNode {
    let server = try TestNode()
    try server.apply(snapshotUpdate(workloads))
    server.post(.identity(identity))
    server.addPod(
      "shop/b", source: Self.serverAddress, listeners: [(.hbone, fcntl(listener.fd, F_DUPFD_CLOEXEC, 3))])
    return server
  }

  /// Another proxy beside `server`, on the same listener.
  func successor() throws -> TestNode {
    try Self.server(workloads, try TestAuthority.mesh.get().identity("b"), listener)
  }

  /// A listener whose connections are dialled as captured ones to a remote workload are.
  static func entrance(of node: TestNode, to target: SocketAddress, expecting name: String = "b") throws
    -> SocketAddress
  {
    let listener = try TestSocket.listening(isBlocking: false)
    let address = listener.address
    let endpoint = OutboundRoute.Endpoint(address: target, workloadID: "shop/\(name)", transport: .tunnel(.of(name)))
    try node.on { worker in
      let pod = worker.pods["shop/a"]!
      pod.listeners.append(
        try TCPListener(fd: listener.fd, loop: worker.loop, report: { _ in }) { [unowned worker] fd, peer in
          guard let stream = worker.accept(fd) else { return }
          var facts = Session.Facts(direction: .outbound, workload: pod.id)
          facts.source = pod.id
          facts.downstreamAddress = SocketAddress(IPAddress(Self.clientAddress)!, peer.port)
          worker.dial(stream, endpoint, facts)
        })
    }
    return address
  }

  func joined() throws -> (client: TestSocket, server: TestSocket) {
    let connection = try TestSocket.connected(to: entrance)
    return (connection, try application.accept())
  }

  /// Asks for a stream by hand; nil where it was opened, else why not.
  func ask(_ request: HBONERequest, keepsStream: Bool = false) throws -> String? {
    let result = BackgroundResult<String?>()
    try client.on { worker in
      let key = TunnelPool.Key(source: "shop/a", destination: IPAddress(Self.serverAddress)!)
      _ = worker.tunnels.open(request, key: key, expected: .of("b")) { answer in
        switch answer {
        case .success(let stream):
          if !keepsStream { stream.reset() }
          result.set(.success(nil))
        case .failure(let failure): result.set(.success(failure.description))
        }
      }
    }
    return try result.get()
  }

  var tunnels: Int { get throws { try client.on { $0.tunnels.tunnelCount } } }

  var isEmpty: Bool { get throws { try client.sessionCount == 0 && server.sessionCount == 0 } }

  func stop() {
    application.close()
    client.post(.removePod(id: "shop/a", runsOn: false))
    server.post(.removePod(id: "shop/b", runsOn: false))
    // Commands are taken in order: when this answers, the listeners are closed and the address is free.
    _ = try? client.on { _ in }
    _ = try? server.on { _ in }
    listener.close()
    client.stop()
    server.stop()
  }
}
