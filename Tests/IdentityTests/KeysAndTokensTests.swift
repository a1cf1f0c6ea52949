import Foundation
import MeshModel
import Testing

@testable import Identity

@Suite struct WorkloadKeyTests {
  @Test func isNeverPrinted() throws {
    let key = WorkloadKey()
    var dumped = ""
    dump(key, to: &dumped)
    dump(["key": key], to: &dumped)
    let texts = ["\(key)", String(reflecting: key), String(describing: [key]), dumped]
    for text in texts {
      #expect(text.contains("redacted"))
      #expect(!text.contains("BEGIN") && !text.contains("P256"))
    }
    #expect(Swift.Mirror(reflecting: key).children.isEmpty)
  }

  @Test func roundTripsThroughPKCS8() throws {
    let key = WorkloadKey()
    #expect(try WorkloadKey(pkcs8DER: key.pkcs8DER).pkcs8DER == key.pkcs8DER)
    #expect(key.pkcs8PEM.hasPrefix("-----BEGIN PRIVATE KEY-----"))
    #expect(sentence { () throws(IdentityError) in _ = try WorkloadKey(pkcs8DER: [1, 2]) } != nil)
  }

  @Test(arguments: [
    "spiffe://cluster.local/ns/shop/sa/reviews", "spiffe://cluster.local/node/node-a", "spiffe://mesh.example/control",
  ])
  func subjectsRoundTrip(uri: String) {
    #expect(CertificateSubject(uri)?.uri == uri)
  }

  @Test(arguments: ["", "spiffe://", "spiffe://td", "spiffe:///control", "http://td/control", "spiffe://td/x/control"])
  func otherURIsAreNoSubjects(uri: String) {
    #expect(CertificateSubject(uri) == nil)
  }
}

@Suite struct JoinTokensTests {
  let directory = try! TemporaryDirectory()  // A test without a directory can't go on.

  @Test func acceptsTheNodesOwnTokenOnly() throws {
    let tokens = try JoinTokens(text: "# comment\n\nnode-a 0123456789abcdef\nnode-b\tfedcba9876543210\n")
    #expect(tokens.nodes == ["node-a", "node-b"])
    #expect(tokens.accepts(token: "0123456789abcdef", node: "node-a"))
    #expect(!tokens.accepts(token: "0123456789abcdef", node: "node-b"))
    #expect(!tokens.accepts(token: "0123456789abcde", node: "node-a"))
    #expect(!tokens.accepts(token: "", node: "node-a"))
    #expect(!tokens.accepts(token: "0123456789abcdef", node: "node-c"))
    #expect(!JoinTokens().accepts(token: "", node: ""))
    #expect(!"\(tokens)".contains("0123456789abcdef"))
  }

  @Test(arguments: [
    ("node-a 0123456789abcdef\nnode-a fedcba9876543210", "tokens:2: node node-a has a token already"),
    ("node-a", "tokens:1: a line is"),
    ("node-a a b", "tokens:1: a line is"),
    ("\nNode 0123456789abcdef", "tokens:2: the node name"),
    ("node-a short", "tokens:1: a token has 16"),
  ])
  func refusesLine(text: String, reason: String) {
    let why = sentence { () throws(IdentityError) in _ = try JoinTokens(text: text, name: "tokens") }
    #expect(why?.hasPrefix(reason) == true)
    #expect(why?.contains("fedcba") != true)
  }

  @Test func refusesAFileThatOthersCanRead() throws {
    let path = directory.path + "/tokens"
    try "node-a 0123456789abcdef\n".write(toFile: path, atomically: false, encoding: .utf8)
    chmod(path, 0o644)
    #expect(sentence { () throws(IdentityError) in _ = try JoinTokens(file: path) }?.contains("chmod 600") == true)
    chmod(path, 0o600)
    #expect(try JoinTokens(file: path).nodes == ["node-a"])
    #expect(
      sentence { () throws(IdentityError) in _ = try JoinTokens(file: path + "x") }?
        .contains("there is no join token file") == true)
  }
}

@Suite struct IdentityStoreTests {
  let directory = try! TemporaryDirectory()  // A test without a directory can't go on.

  @Test func keepsWhatIsValidAndDropsWhatIsNot() throws {
    let authority = try CertificateAuthority(stateDirectory: directory.path + "/ca", trustDomain: domain)
    let store = try IdentityStore(directory: directory.path + "/identities")
    let long = try authority.issue(for: reviews)
    let node = CertificateSubject("spiffe://cluster.local/node/node-a")!
    let short = try authority.issue(for: node, lifetime: 60)
    try store.save(long)
    try store.save(short)
    try store.save(authority.trustBundle)
    for name in try SecureFile.list(store.directory) {
      #expect(try permissions("\(store.directory)/\(name)") == 0o600)
    }
    var loaded = store.load()
    #expect(Set(loaded.identities.map(\.subject)) == [reviews, node])
    #expect(loaded.trustBundle == authority.trustBundle)
    #expect(loaded.problems.isEmpty)
    loaded = store.load(now: Date().addingTimeInterval(120))
    #expect(loaded.identities.map(\.certificate) == [long.certificate])
    #expect(loaded.identities[0].key.pkcs8DER == long.key.pkcs8DER)
    #expect(store.load().identities.count == 1)
    try store.remove(reviews)
    try store.remove(reviews)
    #expect(store.load().identities.isEmpty)
  }

  @Test func replacesAndReportsDamage() throws {
    let authority = try CertificateAuthority(stateDirectory: directory.path + "/ca", trustDomain: domain)
    let store = try IdentityStore(directory: directory.path + "/identities")
    try store.save(authority.issue(for: reviews))
    let renewed = try authority.issue(for: reviews)
    try store.save(renewed)
    #expect(store.load().identities.map(\.certificate) == [renewed.certificate])
    let path = "\(store.directory)/\(try SecureFile.list(store.directory)[0])"
    // A key with another's certificate.
    let mixed = WorkloadKey().pkcs8PEM + renewed.certificate.pem
    try mixed.write(toFile: path, atomically: false, encoding: .utf8)
    var loaded = store.load()
    #expect(loaded.identities.isEmpty && loaded.problems.count == 1)
    #expect(loaded.problems[0].description.contains(path))
    try "half".write(toFile: path, atomically: false, encoding: .utf8)
    loaded = store.load()
    #expect(loaded.identities.isEmpty && loaded.problems.count == 1)
    try "rest".write(toFile: path + ".tmp-1-2", atomically: false, encoding: .utf8)
    _ = try IdentityStore(directory: store.directory)
    #expect(try SecureFile.list(store.directory).count == 1)
  }
}
