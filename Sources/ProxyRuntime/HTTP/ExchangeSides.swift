import MeshModel
import ProxyCore

/// Where an exchange's request came from and its response goes: a connection of HTTP/1.1, or a stream of HTTP/2.
protocol Downstream: AnyObject {
  /// Response bytes couldn't leave yet: the upstream has to stop until `Exchange.downstreamUnblocked`.
  var isBlocked: Bool { get }
  /// Of the request under way.
  var version: HTTPVersion { get }
  /// 1xx but 101.
  func inform(_ head: HTTPHead)
  func respond(_ head: HTTPHead, framing: HTTP1Reader.Framing)
  func sendBody(_ bytes: UnsafeRawBufferPointer)
  /// The response is complete: the exchange may be used for another request once this returns.
  func finishResponse(trailers: HTTPHead?)
  /// The response has begun and can't be completed.
  func abortResponse()
  /// The upstream can't take more of the request's body.
  func pauseRequest()
  func resumeRequest()
  /// What was written leaves; called at the end of every event.
  func flush()
  func upgrade(to upgrade: Upgrade)
}

/// 101, or 2xx to a CONNECT: from here on bytes go both ways as they come.
struct Upgrade {
  let stream: any ByteStream
  /// Came behind the response's head; valid during the call.
  let pending: UnsafeRawBufferPointer
  /// The connection's place, which the session holds to its end.
  let slot: ConnectionSlot?
  var idleTimeout = Worker.idleTimeout

  /// Nobody takes it.
  func refuse() {
    stream.reset()
    slot?.release()
  }
}

extension Downstream {
  var isHTTP2: Bool { version == .http2 }
}

/// One request on its way to an endpoint, and its response.
protocol Upstream: AnyObject {
  var owner: (any UpstreamOwner)? { get set }
  /// Request bytes couldn't leave yet.
  var isBlocked: Bool { get }
  /// An earlier exchange has used the connection: the server may have closed it meanwhile.
  var isReused: Bool { get }
  /// Of the response, from its head on.
  var version: HTTPVersion { get }
  /// - Parameter upgrade: the request asks for another protocol, which HTTP/1.1 alone can do.
  func send(_ head: HTTPHead, framing: HTTP1Reader.Framing, upgrade: Bool)
  func sendBody(_ bytes: UnsafeRawBufferPointer)
  func finishRequest(trailers: HTTPHead?)
  func pauseResponse()
  func resumeResponse()
  func flush()
  /// Nobody wants the rest: a stream is reset, a connection closed unless what is left of its response is short.
  func abandon()
}

/// A connection, or a stream of one, that is on its way.
protocol UpstreamOpening: AnyObject {
  var isSettled: Bool { get }
  /// Nobody is told then.
  func cancel()
}

protocol UpstreamOwner: AnyObject {
  /// The response's head, which may be changed. An informational one (1xx but 101) is followed by another.
  func responded(_ head: inout HTTPHead, framing: HTTP1Reader.Framing, isInformational: Bool)
  func received(_ bytes: UnsafeRawBufferPointer)
  /// The upstream is done, and has let its owner go.
  func responseEnded(trailers: HTTPHead?)
  func upgraded(to upgrade: Upgrade)
  /// Gone; no call follows.
  func upstreamFailed(_ failure: UpstreamFailure)
  func upstreamUnblocked()
  /// The end of an event: what was written to either side leaves.
  func eventEnded()
}

/// One client's view of an HTTP connection: who it is, and which Service's port it went to.
struct HTTPClient {
  /// The workload that the connection comes from.
  var workload: String
  var identity: SPIFFEID?
  /// Of the identity, or where there is none of the address.
  var identityHash: UInt64
  var address: SocketAddress
  var service: ServiceKey
  var port: UInt16
  var family: IPAddress.Family

  init(
    workload: String, identity: SPIFFEID?, address: SocketAddress, service: ServiceKey, port: UInt16,
    family: IPAddress.Family
  ) {
    self.workload = workload
    self.identity = identity
    self.address = address
    self.service = service
    self.port = port
    self.family = family
    identityHash = StableHash.hash(identity?.description ?? address.ip.description)
  }
}
