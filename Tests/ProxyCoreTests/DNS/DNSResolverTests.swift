import MeshModel
import Testing

@testable import ProxyCore

@Suite struct DNSResolverTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var name: String
    var type: UInt16 = 1
    var namespace = "shop"
    /// nil: forwarded.
    var code: UInt16?
    var addresses: [String] = []

    var testDescription: String { "\(name) type \(type) from \(namespace)" }

    static func found(
      _ name: String, _ type: UInt16 = 1, from namespace: String = "shop", to addresses: String...
    ) -> Self {
      Case(name: name, type: type, namespace: namespace, code: 0, addresses: addresses)
    }
    /// NODATA.
    static func nothing(_ name: String, _ type: UInt16 = 1) -> Self { Case(name: name, type: type, code: 0) }
    /// NXDOMAIN.
    static func absent(_ name: String, _ type: UInt16 = 1) -> Self { Case(name: name, type: type, code: 3) }
    static func refused(_ name: String, _ type: UInt16) -> Self { Case(name: name, type: type, code: 5) }
    static func forwarded(_ name: String, _ type: UInt16 = 1, from namespace: String = "shop") -> Self {
      Case(name: name, type: type, namespace: namespace, code: nil)
    }
  }

  static let cases: [Case] = [
    // Every way to name a Service.
    .found("reviews", to: "10.96.0.1"),
    .found("reviews.shop", from: "other", to: "10.96.0.1"),
    .found("reviews.shop.svc", from: "other", to: "10.96.0.1"),
    .found("reviews.shop.svc.cluster.local", from: "other", to: "10.96.0.1"),
    .found("REVIEWS.Shop.sVc.ClUsTeR.lOcAl", to: "10.96.0.1"),
    .found("reviews.shop.svc.cluster.local", 28, to: "fd00:96::1"),
    .found("reviews.shop.svc.cluster.local", 255, to: "10.96.0.1", "fd00:96::1"),
    .found("example.com", to: "10.96.0.3"),
    // Headless.
    .found("db.shop.svc.cluster.local", to: "10.244.1.2", "10.244.2.2", "10.244.2.3"),
    .found("db.shop.svc.cluster.local", 28, to: "fd00:244:1::2"),
    .found("db-0.db.shop.svc.cluster.local", to: "10.244.1.2"),
    .found("db-0.db.shop.svc.cluster.local", 28, to: "fd00:244:1::2"),
    .found("db-0.db.shop.svc", to: "10.244.1.2"),
    .found("10-244-2-3.db.shop.svc.cluster.local", to: "10.244.2.3"),
    .found("g-0.gossip.shop.svc.cluster.local", to: "10.244.1.9"),
    .found("gossip", to: "10.244.1.9"),
    .nothing("db-1.db.shop.svc.cluster.local", 28),
    .nothing("empty.shop.svc.cluster.local"),
    .absent("db-3.db.shop.svc.cluster.local"),
    .absent("10-244-2-2.db.shop.svc.cluster.local"),
    .absent("db-9.db.shop.svc.cluster.local"),
    // This host.
    .found("localhost", to: "127.0.0.1"),
    .found("a.b.LOCALHOST", 28, to: "::1"),
    .nothing("localhost", 16),
    // Names that exist, without such a record.
    .nothing("ratings.shop.svc.cluster.local", 28),
    .nothing("ratings", 28),
    .nothing("reviews.shop.svc.cluster.local", 16),
    .nothing("reviews.shop.svc.cluster.local", 65),
    .nothing("reviews.shop.svc.cluster.local", 33),
    .nothing("cluster.local"),
    .nothing("svc.cluster.local"),
    .nothing("shop.svc.cluster.local"),
    .nothing("_tcp.reviews.shop.svc.cluster.local", 33),
    .nothing("_http._tcp.reviews.shop.svc.cluster.local"),
    // Names that don't exist, though they're ours.
    .absent("nobody.shop.svc.cluster.local"),
    .absent("reviews.nowhere.svc.cluster.local"),
    .absent("example.com.shop.svc.cluster.local"),
    .absent("www.example.com.shop.svc.cluster.local"),
    .absent("reviews.shop.svc.cluster.local.shop.svc.cluster.local"),
    .absent("reviews.shop.svc.cluster.local.svc.cluster.local"),
    .absent("reviews.shop.cluster.local"),
    .absent("nobody.cluster.local"),
    .absent("_http._udp.reviews.shop.svc.cluster.local", 33),
    .absent("_https._tcp.reviews.shop.svc.cluster.local", 33),
    .absent("http._tcp.reviews.shop.svc.cluster.local", 33),
    .absent("_._tcp.ratings.shop.svc.cluster.local", 33),
    .absent("_tcp.ratings.shop.svc.cluster.local", 33),
    .absent("-.shop.svc.cluster.local"),
    // Refused.
    .refused("cluster.local", 252),
    .refused("cluster.local", 251),
    .refused("reviews", 252),
    .refused("1.0.96.10.in-addr.arpa", 12),
    .refused("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.0.d.f.ip6.arpa", 12),
    // Somebody else's.
    .forwarded("example.org"),
    .forwarded("reviews", from: "other"),
    .forwarded("ratings.com"),
    .forwarded("nobody"),
    .forwarded("www.example.com"),
    .forwarded("nobody.shop.svc"),
    .forwarded("local"),
    .forwarded("xcluster.local"),
    .forwarded("cluster.local.example.org"),
    .forwarded(""),
    .forwarded("", 2),
    .forwarded("8.8.8.8.in-addr.arpa", 12),
    .forwarded("256.8.8.8.in-addr.arpa", 12),
    .forwarded("example.org", 252),
    .forwarded("Reviews_2"),
  ]

  @Test(arguments: cases) func name(_ expected: Case) throws {
    let query = DNSPacket.query(expected.name, expected.type)
    let verdict = resolve(query.bytes, from: expected.namespace)
    guard let code = expected.code else {
      #expect(verdict == .forward)
      return
    }
    let answer = try #require(verdict.answer)
    #expect(answer.id == 0x1234)
    #expect(answer.code == code)
    #expect(answer.question == query.body, "the question is echoed as it came, its case too")
    #expect(answer.addresses == expected.addresses)
    #expect(answer.answers.allSatisfy { $0.name == expected.name && $0.ttl == 5 })
    #expect(answer.flags & 0x8180 == 0x8180)
    guard code != 5 else { return }
    #expect(answer.isAuthoritative)
    let isUnderDomain = expected.name.lowercased().hasSuffix("cluster.local")
    let isNegative = expected.addresses.isEmpty
    #expect(answer.authority.map(\.type) == (isNegative && isUnderDomain ? [6] : []))
  }

  @Test func negativeAnswersCarryTheZonesSOA() throws {
    let answer = try #require(resolve(DNSPacket.query("x.Cluster.local").bytes).answer)
    let soa = try #require(answer.authority.first)
    #expect(soa.name == "Cluster.local")
    #expect(soa.ttl == 5)
    #expect(answer.name(at: soa.dataOffset) == "ns.dns.Cluster.local")
    #expect(answer.name(at: soa.dataOffset + 9) == "hostmaster.Cluster.local")
    #expect(soa.data.count == 9 + 13 + 20)
    #expect(Array(soa.data.suffix(4)) == [0, 0, 0, 5], "the negative TTL")
  }

  @Test func theDomainAnswersForItself() throws {
    let answer = try #require(resolve(DNSPacket.query("cluster.local", 6).bytes).answer)
    #expect(answer.answers.map(\.type) == [6])
    #expect(answer.authority.isEmpty)
  }

  @Test func namedPort() throws {
    let answer = try #require(resolve(DNSPacket.query("_http._tcp.reviews.shop.svc.cluster.local", 33).bytes).answer)
    #expect(answer.answers.count == 1)
    #expect(Array(answer.answers[0].data.prefix(6)) == [0, 0, 0, 100, 0, 80])
    #expect(Array(answer.answers[0].data.dropFirst(6)) == DNSPacket.name("reviews.shop.svc.cluster.local"))
    #expect(answer.additional.map(\.name) == Array(repeating: "reviews.shop.svc.cluster.local", count: 2))
    #expect(answer.additional.map(\.type) == [1, 28])
  }

  @Test func namedPortOfHeadlessService() throws {
    let query = DNSPacket.query("_http._tcp.db.shop.svc.cluster.local", 33, payload: 4096)
    let answer = try #require(resolve(query.bytes).answer)
    #expect(answer.answers.map { Array($0.data.prefix(6)) } == Array(repeating: [0, 0, 0, 33, 0x1f, 0x90], count: 3))
    #expect(
      answer.answers.map { answer.name(at: $0.dataOffset + 6) }
        == ["db-0", "db-1", "10-244-2-3"].map { $0 + ".db.shop.svc.cluster.local" })
    #expect(answer.additional.map(\.type) == [1, 28, 1, 1, 41])
  }

  @Test func answersRotate() {
    let bytes = DNSPacket.query("db").bytes
    #expect(resolve(bytes, random: 0).answer?.addresses == ["10.244.1.2", "10.244.2.2", "10.244.2.3"])
    #expect(resolve(bytes, random: 1).answer?.addresses == ["10.244.2.2", "10.244.2.3", "10.244.1.2"])
    #expect(resolve(bytes, random: .max).answer?.addresses == ["10.244.1.2", "10.244.2.2", "10.244.2.3"])
    #expect(resolve(bytes, random: 5).answer?.addresses.first == "10.244.2.3")
  }

  @Test func anotherDomain() {
    var zone = TestZone.bookshop
    zone.clusterDomain = "Mesh.Example.org."
    #expect(
      resolve(DNSPacket.query("reviews.shop.svc.mesh.example.org").bytes, zone: zone).answer?.addresses == ["10.96.0.1"]
    )
    #expect(resolve(DNSPacket.query("reviews.shop.svc.cluster.local").bytes, zone: zone) == .forward)
    let service = DNSPacket.query("_http._tcp.reviews.shop.svc.mesh.example.org", 33).bytes
    #expect(resolve(service, zone: zone).answer?.answers.count == 1)
    zone.clusterDomain = ""
    #expect(resolve(DNSPacket.query("reviews.shop.svc.cluster.local").bytes, zone: zone) == .forward)
    #expect(resolve(DNSPacket.query("reviews").bytes, zone: zone).answer?.addresses == ["10.96.0.1"])
  }

  @Test func otherClasses() {
    #expect(resolve(DNSPacket.query("reviews", class: 3).bytes).answer?.code == 5)
    #expect(resolve(DNSPacket.query("version.bind", 16, class: 3).bytes) == .forward)
    #expect(resolve(DNSPacket.query("reviews", class: 255).bytes).answer?.addresses == ["10.96.0.1"])
  }

  @Test func snapshotAsZone() throws {
    var update = MeshSnapshotUpdate()
    let key = ServiceKey(namespace: "shop", name: "reviews")
    update.services = [Service(key: key, addresses: [], ports: [.init(port: 80, name: "http")])]
    update.workloads = [
      Workload(
        id: "shop/reviews-0", namespace: "shop", name: "reviews-0", serviceAccount: "reviews", node: "n",
        addresses: [IPAddress("10.244.1.2")!], isMeshed: true, hostname: "r0",
        memberships: [.init(service: key, ports: [.init(servicePort: 80, targetPort: 9080)])])
    ]
    let zone = MeshSnapshot().applying(update)
    let resolver = DNSResolver(namespace: "other")
    let verdict = DNSPacket.query("r0.reviews.shop.svc.cluster.local").bytes.withUnsafeBytes {
      resolver.resolve($0, transport: .udp, zone: zone, random: 0)
    }
    #expect(verdict.answer?.addresses == ["10.244.1.2"])
    #expect(zone.isMeshAddress(IPAddress("10.244.1.2")!))
    #expect(!zone.isMeshAddress(IPAddress("10.244.1.3")!))
  }
}
