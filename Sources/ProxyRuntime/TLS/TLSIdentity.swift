import CTLS
import MeshModel

/// What a workload shows and trusts: one context for each role. Immutable once made; BoringSSL counts its references with
/// atomics, so it may be used from every worker.
final class TLSIdentity: @unchecked Sendable {
  let id: SPIFFEID
  fileprivate let client: OpaquePointer
  fileprivate let server: OpaquePointer

  /// - Parameters: DER; the key as PKCS #8.
  init(id: SPIFFEID, chain: [[UInt8]], key: [UInt8], roots: [[UInt8]]) throws(TLSFailure) {
    guard !chain.isEmpty, !roots.isEmpty else {
      throw TLSFailure(reason: "the identity \(id) has no certificate or no trust bundle")
    }
    self.id = id
    client = try Self.context(chain: chain, key: key, roots: roots, isServer: false)
    do {
      server = try Self.context(chain: chain, key: key, roots: roots, isServer: true)
    } catch {
      weft_tls_context_free(client)
      throw error
    }
  }

  deinit {
    weft_tls_context_free(client)
    weft_tls_context_free(server)
  }

  private static func context(
    chain: [[UInt8]], key: [UInt8], roots: [[UInt8]], isServer: Bool
  ) throws(TLSFailure) -> OpaquePointer {
    let joined = chain + [key] + roots
    let storage = joined.flatMap { $0 }
    var reason = [CChar](repeating: 0, count: 400)
    let context: OpaquePointer? = storage.withUnsafeBufferPointer { storage in
      var offset = 0
      let views = joined.map { bytes in
        defer { offset += bytes.count }
        return weft_bytes(data: storage.baseAddress! + offset, length: bytes.count)
      }
      return views.withUnsafeBufferPointer { views in
        weft_tls_context_new(
          views.baseAddress!, chain.count, views[chain.count], views.baseAddress! + chain.count + 1, roots.count,
          isServer ? 1 : 0, &reason, reason.count)
      }
    }
    guard let context else { throw TLSFailure(reason: TLSFailure.text(reason)) }
    return context
  }
}

/// Why a handshake or a record failed.
struct TLSFailure: Error, CustomStringConvertible {
  let reason: String

  var description: String { reason }

  static func text(_ buffer: [CChar]) -> String {
    String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// One TLS connection over buffers: ciphertext in, plaintext out, and back. Lives on one thread.
final class TLSSession {
  /// The most plaintext of one record (RFC 8446 §5.1).
  static let recordSize = 16 << 10

  private let ssl: OpaquePointer
  private let io: UnsafeMutablePointer<weft_tls_io>

  init(_ identity: TLSIdentity, isServer: Bool) throws(TLSFailure) {
    io = .allocate(capacity: 1)
    io.initialize(to: weft_tls_io())
    guard let ssl = weft_tls_new(isServer ? identity.server : identity.client, io, isServer ? 1 : 0) else {
      io.deallocate()
      throw TLSFailure(reason: "out of memory for a TLS connection")
    }
    self.ssl = ssl
  }

  deinit {
    weft_tls_free(ssl)
    weft_tls_io_free(io)
    io.deallocate()
  }

  /// Ciphertext to send.
  var output: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: io.pointee.out.map { $0 + io.pointee.out_start }, count: io.pointee.out_length)
  }

  /// Gives back the memory of an output that is empty.
  func trim() { weft_tls_io_trim(io) }

  func sent(_ count: Int) { weft_tls_io_sent(io, count) }

  /// Lends received ciphertext to BoringSSL: `body` has to read until nothing more comes.
  func receive<R>(_ ciphertext: UnsafeRawBufferPointer, _ body: () -> R) -> R {
    io.pointee.in = ciphertext.baseAddress?.assumingMemoryBound(to: UInt8.self)
    io.pointee.in_length = ciphertext.count
    defer {
      io.pointee.in = nil
      io.pointee.in_length = 0
    }
    return body()
  }

  /// true once the handshake is done.
  func handshake() throws(TLSFailure) -> Bool {
    let result = weft_tls_handshake(ssl)
    if result == WEFT_TLS_OK.rawValue { return true }
    guard result == WEFT_TLS_WANT_READ.rawValue else { throw failure }
    return false
  }

  /// Plaintext into `buffer` (at least 16 KiB): its length, 0 where more ciphertext is needed, nil after close_notify.
  func read(into buffer: UnsafeMutableRawBufferPointer) throws(TLSFailure) -> Int? {
    let count = weft_tls_read(ssl, buffer.baseAddress, Int32(buffer.count))
    if count > 0 { return Int(count) }
    if count == WEFT_TLS_WANT_READ.rawValue { return 0 }
    if count == WEFT_TLS_CLOSED.rawValue { return nil }
    throw failure
  }

  func write(_ bytes: UnsafeRawBufferPointer) throws(TLSFailure) {
    var sent = 0
    while sent < bytes.count {
      let count = weft_tls_write(ssl, bytes.baseAddress! + sent, Int32(min(bytes.count - sent, Self.recordSize)))
      guard count > 0 else { throw failure }
      sent += Int(count)
    }
  }

  /// Queues close_notify (RFC 8446 §6.1).
  func shutdown() { weft_tls_shutdown(ssl) }

  /// The peer's URI SAN; nil where it has none, or more than one (SPIFFE X509-SVID §2).
  var peerURI: String? {
    var buffer = [CChar](repeating: 0, count: 2049)
    guard weft_tls_peer_uri(ssl, &buffer, buffer.count) == 1 else { return nil }
    return TLSFailure.text(buffer)
  }

  var isHTTP2: Bool { weft_tls_alpn_is_h2(ssl) != 0 }

  private var failure: TLSFailure {
    var reason = [CChar](repeating: 0, count: 300)
    weft_tls_error(ssl, &reason, reason.count)
    return TLSFailure(reason: TLSFailure.text(reason))
  }
}
