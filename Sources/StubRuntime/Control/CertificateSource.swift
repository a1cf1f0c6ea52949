import CStub
import Glibc
import StubCore

/// Gets the pod's certificate, first and again at half of its life.
final class CertificateSource {
  private unowned let stub: Stub
  private(set) var renewal: Renewal
  private var call: GRPCCall?
  private var modified: Int64 = 0
  /// The next question is verified by the CA file, whatever roots are held.
  private var usesFile = false
  private var rootsModified: Int64 = 0

  init(stub: Stub) {
    self.stub = stub
    renewal = Renewal(now: Loop.wallClock())
  }

  /// Once a second.
  func sweep(now: Int64) {
    call?.sweep(now: now)
    let time = Loop.wallClock()
    if case .files(let certificate, _) = stub.options.credentials, stub.tunnels.credentials != nil {
      // Whoever renews the files does it at times of his own.
      let changed = modificationTime(certificate)
      if changed != modified, changed != 0 { return attempt(time) }
    }
    if case .join = stub.options.credentials, stub.tunnels.credentials != nil, call == nil, !stub.control.isConnected,
      modificationTime(stub.options.caFile) != rootsModified
    {
      // The control plane is away and the roots have changed: the mesh may have been cut over to another CA.
      usesFile = true
      rootsModified = modificationTime(stub.options.caFile)
      return attempt(time)
    }
    if renewal.isDue(now: time) { attempt(time) }
  }

  func attempt(_ time: Int64) {
    renewal.began(now: time)
    switch stub.options.credentials {
    case .files(let certificate, let key):
      modified = modificationTime(certificate)
      do throws(CredentialsFailure) {
        accept(
          try Credentials(
            chain: try readFile(certificate), key: try readFile(key), roots: try readFile(stub.options.caFile)))
      } catch {
        fail(error.description)
      }
    case .join(let control, let tokenFile):
      do throws(CredentialsFailure) { try join(control, tokenFile) } catch {
        usesFile = false
        fail(error.description)
      }
    }
  }

  private func join(_ control: ControlAddress, _ tokenFile: String) throws(CredentialsFailure) {
    let token =
      String(decoding: try readFile(tokenFile), as: UTF8.self)
      .split(whereSeparator: \.isWhitespace).first.map(String.init) ?? ""
    guard !token.isEmpty else { throw CredentialsFailure("\(tokenFile) is empty") }
    // The bundle that answers bring may be newer than the file's.
    var roots = stub.tunnels.credentials?.roots ?? []
    if roots.isEmpty || usesFile {
      rootsModified = modificationTime(stub.options.caFile)
      roots = try readFile(stub.options.caFile)
    }
    let context = try TLSContext(chain: [], key: [], roots: roots, isServer: false)
    let (key, request) = try makeRequest(stub.options.identity.description)
    let call = GRPCCall(
      GRPCCall.Settings(
        control: control, context: context, expected: "spiffe://\(stub.options.identity.trustDomain.name)/control",
        path: JoinMessages.path, responseBytes: JoinMessages.responseBytes),
      loop: stub.loop)
    self.call = call
    var answer: (chain: [[UInt8]], roots: [[UInt8]])?
    call.onOpen = { [unowned call] in
      call.send(JoinMessages.request(token: token, signingRequest: request))
      call.finish()
    }
    call.onMessage = { (message) throws(WireError) in answer = try JoinMessages.response(message) }
    call.onEnd = { [weak self] reason in
      guard let self else { return }
      self.call = nil
      guard reason == nil, let answer else {
        // The control plane of either CA may be the next that answers.
        usesFile.toggle()
        return fail(reason ?? "the join port answered nothing")
      }
      usesFile = false
      do throws(CredentialsFailure) {
        accept(
          try Credentials(chain: try pem(answer.chain), key: key, roots: try pem(answer.roots)))
      } catch {
        fail("the certificate that the control plane sent: \(error)")
      }
    }
    call.start()
  }

  private func accept(_ credentials: Credentials) {
    let expected = stub.options.identity.description
    guard credentials.uri == expected else {
      return fail("the certificate is of \(credentials.uri.isEmpty ? "nobody" : credentials.uri), not of \(expected)")
    }
    guard credentials.notAfter > Loop.wallClock() else {
      return fail("the certificate expired at \(utcText(credentials.notAfter))")
    }
    renewal.succeeded(
      notBefore: credentials.notBefore, notAfter: credentials.notAfter, now: Loop.wallClock(), using: &stub.loop.random)
    stub.log.write(.info, "certificate of \(expected) until \(utcText(credentials.notAfter))")
    stub.use(credentials)
  }

  private func fail(_ reason: String) {
    renewal.failed(reason, now: Loop.wallClock(), using: &stub.loop.random)
    stub.log.write(.warning, "no new certificate: \(reason)")
  }

  private func makeRequest(_ uri: String) throws(CredentialsFailure) -> (key: [UInt8], request: [UInt8]) {
    var key: UnsafeMutablePointer<CChar>?
    var keyLength = 0
    var request: UnsafeMutablePointer<UInt8>?
    var requestLength = 0
    let (result, error) = withErrorText {
      stub_make_request(uri, &key, &keyLength, &request, &requestLength, $0, $1)
    }
    guard result == 0 else { throw CredentialsFailure(error) }
    defer {
      stub_free_secret(key, keyLength)
      stub_free_secret(request, requestLength)
    }
    return (
      Array(UnsafeRawBufferPointer(start: key, count: keyLength)),
      Array(UnsafeRawBufferPointer(start: request, count: requestLength))
    )
  }

  private func pem(_ certificates: [[UInt8]]) throws(CredentialsFailure) -> [UInt8] {
    var text: [UInt8] = []
    for der in certificates {
      let more = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32 << 10) { out -> [UInt8]? in
        let count = der.withUnsafeBytes {
          stub_pem_from_der($0.baseAddress?.assumingMemoryBound(to: UInt8.self), $0.count, out.baseAddress, out.count)
        }
        return count > 0 ? Array(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(out)[..<Int(count)])) : nil
      }
      guard let more else { throw CredentialsFailure("what it calls a certificate is none") }
      text += more
    }
    return text
  }
}

/// At most 256 KiB.
func readFile(_ path: String) throws(CredentialsFailure) -> [UInt8] {
  let fd = open(path, O_RDONLY | O_CLOEXEC)
  guard fd >= 0 else { throw CredentialsFailure("can't read \(path): \(String(cString: strerror(errno)))") }
  defer { close(fd) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 16 << 10)
  while true {
    let count = read(fd, &chunk, chunk.count)
    guard count >= 0 else { throw CredentialsFailure("can't read \(path): \(String(cString: strerror(errno)))") }
    guard count > 0 else { return bytes }
    bytes += chunk[..<count]
    guard bytes.count <= 256 << 10 else { throw CredentialsFailure("\(path) has more than 256 KiB") }
  }
}

/// Nanoseconds; 0 where there is no such file.
private func modificationTime(_ path: String) -> Int64 {
  var facts = stat()
  guard stat(path, &facts) == 0 else { return 0 }
  return Int64(facts.st_mtim.tv_sec) * 1_000_000_000 + Int64(facts.st_mtim.tv_nsec)
}
