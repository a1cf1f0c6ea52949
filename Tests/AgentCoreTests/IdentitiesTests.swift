import Foundation
import Identity
import MeshModel
import Testing

@testable import AgentCore

@Suite struct IdentitiesTests {
  private let folder: TemporaryFolder
  private let authority: CertificateAuthority
  private let web: SPIFFEID
  private let api: SPIFFEID

  init() throws {
    folder = try TemporaryFolder()
    authority = try CertificateAuthority(stateDirectory: folder.path, trustDomain: .clusterLocal)
    web = try #require(SPIFFEID(trustDomain: .clusterLocal, namespace: "shop", serviceAccount: "web"))
    api = try #require(SPIFFEID(trustDomain: .clusterLocal, namespace: "shop", serviceAccount: "api"))
  }

  @Test func eachIsAskedForOnceAndKeptUntilHalfOfItsLife() throws {
    var identities = Identities()
    let now = Date()
    #expect(identities.need([web], now: now).restored.isEmpty)
    #expect(identities.due(now: now) == [web])
    #expect(identities.due(now: now).isEmpty, "it's being asked for")
    #expect(identities.held(web) == nil)
    let held = try authority.issue(for: .workload(web), lifetime: 3600)
    identities.succeeded(held, for: web)
    #expect(identities.held(web)?.certificate == held.certificate)
    #expect(identities.due(now: now.addingTimeInterval(1000)).isEmpty)
    #expect(identities.due(now: now.addingTimeInterval(2500)) == [web])
    #expect(identities.held(web) != nil, "the old one serves while the new one is asked for")
  }

  @Test func aFailureIsKeptAndTriedAgain() {
    var identities = Identities()
    let now = Date()
    _ = identities.need([web], now: now)
    _ = identities.due(now: now)
    identities.failed("not scheduled here", for: web, now: now)
    #expect(identities.entries[web]?.schedule.lastError == "not scheduled here")
    #expect(identities.due(now: now).isEmpty)
    #expect(identities.due(now: now.addingTimeInterval(60)) == [web])
    identities.failed("away", for: web, now: now.addingTimeInterval(60))
    identities.retry(now: now.addingTimeInterval(60))
    #expect(identities.due(now: now.addingTimeInterval(60)) == [web], "the control plane is back")
    identities.retry(now: now.addingTimeInterval(60))
    #expect(identities.due(now: now.addingTimeInterval(60)).isEmpty, "it's being asked for")
  }

  @Test func whatIsOnDiskServesAndWhatIsExpiredDoesnt() throws {
    var identities = Identities()
    let held = try authority.issue(for: .workload(web), lifetime: 60)
    identities.restore([held])
    let (restored, _) = identities.need([web, api], now: Date())
    #expect(restored.map(\.subject) == [.workload(web)])
    #expect(identities.due(now: Date()) == [api])
    var later = Identities()
    later.restore([held])
    #expect(later.need([web], now: Date().addingTimeInterval(3600)).restored.isEmpty)
    #expect(later.held(web) == nil)
  }

  @Test func whatNobodyNeedsIsDropped() throws {
    var identities = Identities()
    _ = identities.need([web, api], now: Date())
    #expect(identities.need([api], now: Date()).dropped == [web])
    identities.succeeded(try authority.issue(for: .workload(web), lifetime: 3600), for: web)
    #expect(identities.held(web) == nil, "an answer that comes too late")
  }

  @Test func aNewCAMakesTheOldCertificatesWorthless() throws {
    let path = folder.path + "/store"
    let store = try IdentityStore(directory: path)
    try store.save(authority.issue(for: .workload(web), lifetime: 3600))
    try store.save(authority.trustBundle)
    let other = try TemporaryFolder()
    let stranger = try CertificateAuthority(stateDirectory: other.path, trustDomain: .clusterLocal)
    let own = try folder.write(authority.rootPEM, to: "own.pem")
    let foreign = try other.write(stranger.rootPEM, to: "foreign.pem")
    let logger = quiet
    var loaded = store.load()
    #expect(try loaded.chooseTrust(file: own, logger) == authority.trustBundle)
    #expect(loaded.identities.count == 1)
    #expect(try loaded.chooseTrust(file: "/nothing", logger) == authority.trustBundle, "the last run's roots serve")
    #expect(try loaded.chooseTrust(file: foreign, logger) == stranger.trustBundle)
    #expect(loaded.identities.isEmpty)
    var empty = try IdentityStore(directory: folder.path + "/empty").load()
    #expect(throws: (any Error).self) { try empty.chooseTrust(file: "/nothing", logger) }
  }
}
