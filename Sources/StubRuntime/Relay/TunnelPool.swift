import Glibc
import MeshModel
import StubCore

/// Tunnels to other workloads: one connection each while its streams suffice, and another where they don't.
final class TunnelPool {
  struct Key: Hashable {
    let address: IPAddress
    let identity: String
  }

  private static let groupsBound = 1024
  private var groups: [Key: TunnelGroup] = [:]
  private let loop: Loop
  /// nil while there is no certificate.
  var credentials: Credentials? {
    didSet {
      // Their streams go on; new ones show the new certificate.
      for group in groups.values { group.renew() }
    }
  }

  init(loop: Loop) { self.loop = loop }

  var count: Int { groups.values.reduce(0) { $0 + $1.count } }

  func open(
    _ key: Key, authority: String, forwarded: String,
    completion: @escaping (Result<HTTP2Stream, StreamFailure>) -> Void
  ) {
    guard let credentials else { return completion(.failure(StreamFailure("there is no certificate yet"))) }
    if groups[key] == nil {
      guard groups.count < Self.groupsBound else {
        return completion(.failure(StreamFailure("tunnels to \(Self.groupsBound) workloads are open")))
      }
      groups[key] = TunnelGroup(key, loop: loop)
    }
    groups[key]?.open(authority, forwarded, credentials, completion)
  }

  /// Once a second: closes what has been idle for long.
  func sweep(now: Int64) {
    for (key, group) in groups where group.sweep(now: now) { groups[key] = nil }
  }

  func drain() { for group in groups.values { group.renew() } }
}

/// Why a stream didn't open, in words.
struct StreamFailure: Error {
  let reason: String

  init(_ reason: String) { self.reason = reason }
}

/// The tunnels to one workload.
final class TunnelGroup: HTTP2Delegate, HTTP2StreamDelegate {
  static let idleSeconds: Int64 = 300
  private static let waitingBound = 1024
  private static let tunnelsBound = 8
  /// Also those that take no new streams and wait for their last: of certificates before this one.
  private static let allTunnelsBound = 64

  private struct Opening {
    let authority: String
    let forwarded: String
    let completion: (Result<HTTP2Stream, StreamFailure>) -> Void
  }

  private let key: TunnelPool.Key
  private let loop: Loop
  private var tunnels: [HTTP2Connection] = []
  private var connecting: HTTP2Connection?
  private var waiting: [Opening] = []
  /// What the latest asked with.
  private var credentials: Credentials?
  /// Sent, and not answered yet.
  private var asked: [ObjectIdentifier: Opening] = [:]

  init(_ key: TunnelPool.Key, loop: Loop) {
    self.key = key
    self.loop = loop
  }

  var count: Int { tunnels.count }

  func open(
    _ authority: String, _ forwarded: String, _ credentials: Credentials,
    _ completion: @escaping (Result<HTTP2Stream, StreamFailure>) -> Void
  ) {
    let opening = Opening(authority: authority, forwarded: forwarded, completion: completion)
    if place(opening) { return }
    guard waiting.count < Self.waitingBound else {
      return completion(.failure(StreamFailure("\(Self.waitingBound) streams wait for a tunnel already")))
    }
    waiting.append(opening)
    self.credentials = credentials
    if connecting == nil { connect(credentials) }
  }

  private func place(_ opening: Opening) -> Bool {
    for tunnel in tunnels {
      guard
        let stream = tunnel.connect(authority: opening.authority, forwarded: opening.forwarded, delegate: self)
      else { continue }
      asked[ObjectIdentifier(stream)] = opening
      return true
    }
    return false
  }

  private func connect(_ credentials: Credentials) {
    let count = tunnels.count { !$0.isGoingAway }
    guard count < Self.tunnelsBound, tunnels.count < Self.allTunnelsBound else {
      return fail("\(count) tunnels are full, \(tunnels.count - count) are ending")
    }
    let peer = SocketAddress(key.address, MeshPort.hbone)
    do throws(SystemFailure) {
      let fd = try Sockets.connect(peer)
      do throws(SystemFailure) {
        connecting = try HTTP2Connection(
          fd: fd, peer: peer, role: .client, context: credentials.client, loop: loop, delegate: self)
      } catch {
        close(fd)
        throw error
      }
    } catch {
      fail(error.description)
    }
  }

  private func fail(_ reason: String) {
    let failed = waiting
    waiting = []
    for opening in failed { opening.completion(.failure(StreamFailure(reason))) }
  }

  func renew() { for tunnel in tunnels { tunnel.drain() } }

  /// true where nothing is left of it.
  func sweep(now: Int64) -> Bool {
    for tunnel in tunnels
    where tunnel.streams.isEmpty && now > tunnel.lastActive + Self.idleSeconds * 1_000_000_000 {
      tunnel.close("idle")
    }
    return tunnels.isEmpty && connecting == nil && waiting.isEmpty
  }

  // MARK: HTTP2Delegate

  func judge(_ connection: HTTP2Connection, uri: String) -> String? {
    uri == key.identity
      ? nil : "\(connection.peer) must be \(key.identity), and its certificate says \(uri.isEmpty ? "nothing" : uri)"
  }

  func opened(_ connection: HTTP2Connection) {
    connecting = nil
    tunnels.append(connection)
    let due = waiting
    waiting = []
    for opening in due where !place(opening) { waiting.append(opening) }
    guard !waiting.isEmpty else { return }
    guard waiting.count < due.count, let credentials else { return fail("\(connection.peer) takes no streams") }
    connect(credentials)
  }

  func request(
    _ connection: HTTP2Connection, stream: HTTP2Stream, method: String, authority: String, forwarded: String
  ) {}

  func wentAway(_ connection: HTTP2Connection) {}

  func closed(_ connection: HTTP2Connection, reason: String) {
    tunnels.removeAll { $0 === connection }
    guard connecting === connection else { return }
    connecting = nil
    fail(reason)
  }

  // MARK: Streams that wait for their answer

  func response(_ stream: HTTP2Stream, status: Int, grpcStatus: Int, message: String) {
    guard let opening = asked.removeValue(forKey: ObjectIdentifier(stream)) else { return }
    stream.delegate = nil
    guard 200..<300 ~= status else {
      stream.reset()
      return opening.completion(.failure(StreamFailure("the peer answered \(status)")))
    }
    opening.completion(.success(stream))
  }

  func closed(_ stream: HTTP2Stream, failure: String?) {
    guard let opening = asked.removeValue(forKey: ObjectIdentifier(stream)) else { return }
    opening.completion(.failure(StreamFailure(failure ?? "the peer ended the stream")))
  }

  func received(_ bytes: UnsafeRawBufferPointer, on stream: HTTP2Stream) {}
  func receivedEnd(on stream: HTTP2Stream) {}
  func mayWrite(on stream: HTTP2Stream) {}
}
