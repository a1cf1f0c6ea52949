import Glibc
import MeshModel

@testable import ProxyRuntime

/// A TLS client that says whatever a test wants, over a blocking socket.
final class RawTLSClient {
  private let socket: TestSocket
  private let session: TLSSession
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 32 << 10, alignment: 8)

  init(_ identity: TLSIdentity, to address: SocketAddress, from source: String) throws {
    socket = try TestSocket.connected(to: address, from: source)
    session = try TLSSession(identity, isServer: false)
    var isDone = false
    while !isDone {
      isDone = try session.handshake()
      try flush()
      if !isDone {
        let received = try socket.readSome()
        guard !received.isEmpty else { throw SystemError(ECONNRESET, "finish a handshake") }
        isDone = try received.withUnsafeBytes { bytes in
          try session.receive(bytes) { Result { try session.handshake() } }.get()
        }
        try flush()
      }
    }
  }

  deinit {
    socket.close()
    buffer.deallocate()
  }

  private func flush() throws {
    let output = Array(session.output)
    try socket.write(output)
    session.sent(output.count)
  }

  func write(_ bytes: [UInt8]) throws {
    try bytes.withUnsafeBytes { try session.write($0) }
    try flush()
  }

  /// What the server says until it closes or resets the connection.
  func readToEnd() -> [UInt8] {
    var all: [UInt8] = []
    while let received = try? socket.readSome(), !received.isEmpty {
      received.withUnsafeBytes { bytes in
        session.receive(bytes) {
          while let count = try? session.read(into: buffer), count > 0 { all += buffer[..<count] }
        }
      }
    }
    return all
  }
}
