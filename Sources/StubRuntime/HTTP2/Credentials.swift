import CStub
import Glibc
import StubCore

/// Text of a failure that the C side wrote.
func withErrorText<Value>(_ body: (UnsafeMutablePointer<CChar>, Int) -> Value) -> (Value, String) {
  withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { buffer in
    buffer[0] = 0
    guard let base = buffer.baseAddress else { preconditionFailure("a buffer has an address") }
    let value = body(base, 512)
    return (value, String(cString: base))
  }
}

/// Why the certificate can't be used.
struct CredentialsFailure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// TLS settings, for sessions that are made while they are in force.
final class TLSContext {
  let context: OpaquePointer

  /// Everything in PEM; chain and key empty: a client that has no certificate yet.
  init(chain: [UInt8], key: [UInt8], roots: [UInt8], isServer: Bool) throws(CredentialsFailure) {
    let (made, error) = withErrorText { text, capacity in
      chain.withPEM { chain, chainLength in
        key.withPEM { key, keyLength in
          roots.withPEM { roots, rootsLength in
            stub_tls_context_new(
              chain, chainLength, key, keyLength, roots, rootsLength, isServer ? 1 : 0, text, capacity)
          }
        }
      }
    }
    guard let made else { throw CredentialsFailure(error) }
    context = made
  }

  deinit { stub_tls_context_free(context) }
}

/// The pod's certificate and what peers are verified by.
final class Credentials {
  let server: TLSContext
  let client: TLSContext
  let uri: String
  /// Seconds since 1970.
  let notBefore: Int64
  let notAfter: Int64
  let roots: [UInt8]

  init(chain: [UInt8], key: [UInt8], roots: [UInt8]) throws(CredentialsFailure) {
    var notBefore: Int64 = 0
    var notAfter: Int64 = 0
    var uri = ""
    let (result, error) = withErrorText { text, capacity in
      withUnsafeTemporaryAllocation(of: CChar.self, capacity: 2049) { out in
        let result = chain.withPEM {
          stub_certificate_facts($0, $1, &notBefore, &notAfter, out.baseAddress, out.count, text, capacity)
        }
        if result == 0, let base = out.baseAddress { uri = String(cString: base) }
        return result
      }
    }
    guard result == 0 else { throw CredentialsFailure(error) }
    self.uri = uri
    self.notBefore = notBefore
    self.notAfter = notAfter
    self.roots = roots
    server = try TLSContext(chain: chain, key: key, roots: roots, isServer: true)
    client = try TLSContext(chain: chain, key: key, roots: roots, isServer: false)
  }
}

extension [UInt8] {
  fileprivate func withPEM<Value>(_ body: (UnsafePointer<CChar>?, Int) -> Value) -> Value {
    withUnsafeBytes { body($0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count) }
  }
}
