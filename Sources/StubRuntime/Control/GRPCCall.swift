import CStub
import Glibc
import MeshModel
import StubCore

/// One call to the control plane over a connection of its own: resolves, connects, checks who answers, sends and receives
/// messages. It ends once, with a reason.
final class GRPCCall: HTTP2Delegate, HTTP2StreamDelegate {
  struct Settings {
    let control: ControlAddress
    let context: TLSContext
    /// Whose certificate is expected: `spiffe://DOMAIN/control`.
    let expected: String
    let path: String
    let responseBytes: Int
  }

  private static let pingSeconds: Int64 = 10
  private static let silenceSeconds: Int64 = 25

  private let settings: Settings
  private let loop: Loop
  private var connection: HTTP2Connection?
  private var resolver: Resolver?
  private var stream: HTTP2Stream?
  private var reader: GRPCReader
  private var lastPing: Int64 = 0
  private(set) var isOver = false

  /// The stream is there: send the first messages.
  var onOpen: () -> Void = {}
  var onMessage: (UnsafeRawBufferPointer) throws(WireError) -> Void = { (_) throws(WireError) in }
  /// nil: the server ended it in order.
  var onEnd: (String?) -> Void = { _ in }

  init(_ settings: Settings, loop: Loop) {
    self.settings = settings
    self.loop = loop
    reader = GRPCReader(limit: settings.responseBytes)
  }

  func start() {
    if let address = IPAddress(settings.control.host) { return connect(address) }
    do throws(SystemFailure) {
      resolver = try Resolver(settings.control.host, loop: loop) { [weak self] addresses in
        guard let self, !isOver else { return }
        resolver = nil
        // Any replica serves.
        guard let address = addresses.randomElement(using: &loop.random) else {
          return end("\(settings.control.host) has no address")
        }
        connect(address)
      }
    } catch {
      end(error.description)
    }
  }

  private func connect(_ address: IPAddress) {
    let peer = SocketAddress(address, settings.control.port)
    do throws(SystemFailure) {
      let fd = try Sockets.connect(peer)
      do throws(SystemFailure) {
        connection = try HTTP2Connection(
          fd: fd, peer: peer, role: .client, context: settings.context, loop: loop, delegate: self)
      } catch {
        Glibc.close(fd)
        throw error
      }
    } catch {
      end(error.description)
    }
  }

  func send(_ message: [UInt8]) { GRPCWriter.frame(message).withUnsafeBytes { stream?.write($0) } }

  /// Nothing more will be sent.
  func finish() { stream?.finish() }

  func cancel() {
    isOver = true
    connection?.close("cancelled")
    connection = nil
  }

  /// Once a second: notices a peer that has vanished.
  func sweep(now: Int64) {
    guard let connection, connection.isOpen else { return }
    if now > connection.lastActive + Self.silenceSeconds * 1_000_000_000 {
      return connection.close("\(settings.control) has been silent for \(Self.silenceSeconds) s")
    }
    guard now > lastPing + Self.pingSeconds * 1_000_000_000 else { return }
    lastPing = now
    connection.ping()
  }

  private func end(_ reason: String?) {
    guard !isOver else { return }
    isOver = true
    stream?.delegate = nil
    let held = connection
    connection = nil
    held?.close("over")
    onEnd(reason)
  }

  // MARK: HTTP2Delegate

  func judge(_ connection: HTTP2Connection, uri: String) -> String? {
    if uri == settings.expected || (uri.isEmpty && connection.isPeerNamed(settings.control.host)) { return nil }
    let shown = uri.isEmpty ? "another host" : uri
    return "\(settings.control) has the certificate of \(shown), not of \(settings.expected)"
  }

  func opened(_ connection: HTTP2Connection) {
    stream = connection.call(authority: settings.control.description, path: settings.path, delegate: self)
    guard stream != nil else { return end("\(settings.control) takes no calls") }
    onOpen()
  }

  func request(
    _ connection: HTTP2Connection, stream: HTTP2Stream, method: String, authority: String, forwarded: String
  ) {}

  func wentAway(_ connection: HTTP2Connection) {}

  func response(_ stream: HTTP2Stream, status: Int, grpcStatus: Int, message: String) {
    if grpcStatus > 0 { return end("\(settings.control) answered \(grpcStatus): \(message)") }
    if status != 0, status != 200 { end("\(settings.control) answered HTTP \(status)") }
  }

  func closed(_ connection: HTTP2Connection, reason: String) {
    guard self.connection === connection || self.connection == nil else { return }
    end(reason)
  }

  func received(_ bytes: UnsafeRawBufferPointer, on stream: HTTP2Stream) {
    do throws(WireError) {
      try reader.receive(bytes, onMessage)
      stream.consumeReceived()
    } catch {
      end("\(settings.control) sent what can't be read: \(error.reason)")
    }
  }

  func receivedEnd(on stream: HTTP2Stream) { end(nil) }
  func mayWrite(on stream: HTTP2Stream) {}
  func closed(_ stream: HTTP2Stream, failure: String?) { end(failure) }
}
