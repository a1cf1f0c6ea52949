import MeshModel
import Testing

@testable import ControlPlane

@Suite struct CompilerTests {
  private func pod(
    _ address: String?, labels: [String: String] = ["app": "cart"], node: String = "n1"
  ) -> PodObject {
    PodObject(labels: labels, node: node, addresses: address.map { [IPAddress($0)!] } ?? [])
  }

  private func service(_ selector: [String: String] = ["app": "cart"], target: PortReference = .number(8080))
    -> ServiceObject
  {
    ServiceObject(selector: selector, addresses: [IPAddress("10.96.0.1")!], ports: [.init(port: 80, target: target)])
  }

  private func compiler(_ changes: ObjectChange...) -> MeshCompiler {
    var compiler = MeshCompiler(config: MeshConfig())
    _ = compiler.apply(changes)
    return compiler
  }

  private func membership(_ service: String, _ ports: (UInt16, UInt16)...) -> Workload.Membership {
    Workload.Membership(
      service: ServiceKey(service)!, ports: ports.map { .init(servicePort: $0.0, targetPort: $0.1) })
  }

  @Test func aPodBecomesAWorkload() {
    var object = pod("10.0.0.1")
    object.serviceAccount = "carter"
    object.probePorts = [9000]
    object.failMode = .open
    object.isReady = false
    let compiler = compiler(.set(.pod, "shop", "a", .pod(object)))
    #expect(
      compiler.workloads == [
        "shop/a": Workload(
          id: "shop/a", namespace: "shop", name: "a", serviceAccount: "carter", node: "n1",
          addresses: [IPAddress("10.0.0.1")!], isMeshed: false, isReady: false, failMode: .open, probePorts: [9000])
      ])
  }

  @Test func podsThatAreBoundToNoNodeAndHaveNoAddressAndThoseThatEndedAreLeftOut() {
    var unbound = pod(nil)
    unbound.node = ""
    var ended = pod("10.0.0.2")
    ended.hasEnded = true
    let compiler = compiler(.set(.pod, "shop", "a", .pod(unbound)), .set(.pod, "shop", "b", .pod(ended)))
    #expect(compiler.workloads.isEmpty)
  }

  @Test func aBoundPodIsAWorkloadBeforeItHasAnAddressAndIsNoEndpoint() throws {
    var bound = pod(nil)
    bound.uid = "11111111-2222-3333-4444-555555555555"
    bound.labels = ["app": "a"]
    bound.mode = .stubTunnel
    let changes: [ObjectChange] = [
      .set(.pod, "shop", "a", .pod(bound)),
      .set(.service, "shop", "a", .service(service(["app": "a"], target: .number(80)))),
    ]
    var compiler = MeshCompiler(config: MeshConfig())
    let delta = compiler.apply(changes)
    let workload = try #require(compiler.workloads["shop/a"])
    #expect(workload.podUID == bound.uid && workload.node == "n1" && workload.mode == .stubTunnel)
    #expect(workload.addresses.isEmpty && workload.memberships.isEmpty)
    let resource = try #require(
      delta.resources().upserts.first { $0.name == "shop/a" && $0.typeURL.hasSuffix("Workload") })
    #expect(resource.audience == .node("n1"))
    bound.addresses = [IPAddress("10.0.0.1")!]
    _ = compiler.apply([.set(.pod, "shop", "a", .pod(bound))])
    #expect(compiler.workloads["shop/a"]?.memberships.map(\.service.description) == ["shop/a"])
  }

  @Test func aPodOnItsNodesNetworkSaysSo() {
    var object = pod("10.0.0.1")
    object.usesHostNetwork = true
    let compiler = compiler(.set(.pod, "shop", "a", .pod(object)))
    #expect(compiler.workloads["shop/a"]?.usesHostNetwork == true)
  }

  @Test(arguments: [
    (Enrolment.unsaid, Enrolment.unsaid, false, false), (.enabled, .unsaid, false, true),
    (.unsaid, .enabled, false, true), (.enabled, .disabled, false, false), (.disabled, .enabled, false, true),
    (.disabled, .unsaid, false, false), (.enabled, .enabled, true, false),
  ])
  func enrolment(_ namespace: Enrolment, _ ofPod: Enrolment, _ hostNetwork: Bool, _ isMeshed: Bool) {
    var object = pod("10.0.0.1")
    object.enrolment = ofPod
    object.usesHostNetwork = hostNetwork
    let compiler = compiler(
      .set(.pod, "shop", "a", .pod(object)), .set(.namespace, "", "shop", .namespace(.init(enrolment: namespace))))
    #expect(compiler.workloads["shop/a"]?.isMeshed == isMeshed)
    #expect(compiler.meshedNodes == (isMeshed ? ["n1"] : []))
  }

  @Test func aNamespaceLabelFlipsItsPodsAndNoOthers() {
    var compiler = compiler(
      .set(.pod, "shop", "a", .pod(pod("10.0.0.1"))), .set(.pod, "shop", "b", .pod(pod("10.0.0.2", node: "n2"))),
      .set(.pod, "other", "c", .pod(pod("10.0.0.3", node: "n3"))))
    let delta = compiler.apply([.set(.namespace, "", "shop", .namespace(.init(enrolment: .enabled)))])
    #expect(Set(delta.workloads.keys) == ["shop/a", "shop/b"])
    #expect(delta.workloads.values.allSatisfy { $0.isMeshed })
    #expect(compiler.meshedNodes == ["n1", "n2"])
    let back = compiler.apply([.remove(.namespace, "", "shop")])
    #expect(Set(back.workloads.keys) == ["shop/a", "shop/b"])
    #expect(compiler.meshedNodes.isEmpty)
  }

  @Test func selectorsTakePodsOfTheirNamespaceWithAllLabels() {
    let compiler = compiler(
      .set(.pod, "shop", "a", .pod(pod("10.0.0.1", labels: ["app": "cart", "tier": "web"]))),
      .set(.pod, "shop", "b", .pod(pod("10.0.0.2", labels: ["app": "cart"]))),
      .set(.pod, "other", "c", .pod(pod("10.0.0.3", labels: ["app": "cart", "tier": "web"]))),
      .set(.service, "shop", "web", .service(service(["app": "cart", "tier": "web"]))),
      .set(.service, "shop", "cart", .service(service())),
      .set(.service, "shop", "none", .service(service([:]))))
    #expect(
      compiler.workloads["shop/a"]?.memberships == [
        membership("shop/cart", (80, 8080)), membership("shop/web", (80, 8080)),
      ])
    #expect(compiler.workloads["shop/b"]?.memberships == [membership("shop/cart", (80, 8080))])
    #expect(compiler.workloads["other/c"]?.memberships == [])
    #expect(Set(compiler.services.keys.map(\.name)) == ["web", "cart", "none"])
  }

  @Test func namedPortsAreThePodsOwn() {
    var one = pod("10.0.0.1")
    one.ports = [.init(name: "http", port: 8080, transport: .tcp), .init(name: "http", port: 1, transport: .udp)]
    var two = pod("10.0.0.2")
    two.ports = [.init(name: "http", port: 9090, transport: .tcp)]
    let without = pod("10.0.0.3")
    let compiler = compiler(
      .set(.pod, "shop", "a", .pod(one)), .set(.pod, "shop", "b", .pod(two)), .set(.pod, "shop", "c", .pod(without)),
      .set(.service, "shop", "cart", .service(service(target: .name("http")))))
    #expect(compiler.workloads["shop/a"]?.memberships == [membership("shop/cart", (80, 8080))])
    #expect(compiler.workloads["shop/b"]?.memberships == [membership("shop/cart", (80, 9090))])
    #expect(compiler.workloads["shop/c"]?.memberships == [membership("shop/cart")])
  }

  @Test func headlessServicesAndHostnames() {
    var object = pod("10.0.0.1")
    object.hostname = "zero"
    var headless = service()
    headless.addresses = []
    headless.publishNotReadyAddresses = true
    var compiler = compiler(
      .set(.pod, "shop", "a", .pod(object)), .set(.service, "shop", "cart", .service(headless)))
    #expect(compiler.services[ServiceKey("shop/cart")!]?.isHeadless == true)
    #expect(compiler.services[ServiceKey("shop/cart")!]?.publishNotReadyAddresses == true)
    #expect(compiler.workloads["shop/a"]?.hostname == "")
    object.subdomain = "cart"
    let delta = compiler.apply([.set(.pod, "shop", "a", .pod(object))])
    #expect(delta.workloads["shop/a"]?.hostname == "zero")
  }

  @Test func externalNamesAreNoServices() {
    var external = service()
    external.isExternalName = true
    let compiler = compiler(
      .set(.pod, "shop", "a", .pod(pod("10.0.0.1"))), .set(.service, "shop", "cart", .service(external)))
    #expect(compiler.services.isEmpty)
    #expect(compiler.workloads["shop/a"]?.memberships == [])
  }

  @Test func deletions() {
    var compiler = compiler(
      .set(.pod, "shop", "a", .pod(pod("10.0.0.1"))), .set(.pod, "shop", "b", .pod(pod("10.0.0.2"))),
      .set(.service, "shop", "cart", .service(service())))
    var delta = compiler.apply([.remove(.service, "shop", "cart")])
    #expect(delta.removedServices == [ServiceKey("shop/cart")!])
    #expect(delta.workloads.mapValues(\.memberships) == ["shop/a": [], "shop/b": []])
    delta = compiler.apply([.remove(.pod, "shop", "a")])
    #expect(delta == MeshDelta(removedWorkloads: ["shop/a"]))
    #expect(compiler.apply([.remove(.pod, "shop", "a")]).isEmpty)
  }

  @Test func anObjectThatDidNotChangeCostsNothing() {
    let changes: [ObjectChange] = [
      .set(.pod, "shop", "a", .pod(pod("10.0.0.1"))), .set(.service, "shop", "cart", .service(service())),
    ]
    var compiler = MeshCompiler(config: MeshConfig())
    _ = compiler.apply(changes)
    let work = compiler.work
    #expect(compiler.apply(changes).isEmpty)
    #expect(compiler.work == work)
  }

  @Test func theConfigIsReportedOnceAndWhenItChanges() {
    var compiler = MeshCompiler(config: MeshConfig(clusterDomain: "example.org"))
    #expect(compiler.apply([]).config == MeshConfig(clusterDomain: "example.org"))
    #expect(compiler.apply([]).config == nil)
    let strict = ObjectChange.set(
      .peerAuthentication, "weft-system", "default", .peerAuthentication(.init(mutualTLS: .strict)))
    #expect(compiler.apply([strict]).config?.mutualTLS == .strict)
    #expect(compiler.apply([strict]).config == nil)
    #expect(compiler.apply([.remove(.peerAuthentication, "weft-system", "default")]).config?.mutualTLS == .permissive)
  }

  @Test func whoIsScheduledWhere() {
    let id = SPIFFEID("spiffe://cluster.local/ns/shop/sa/default")!
    var compiler = compiler(.set(.pod, "shop", "a", .pod(pod(nil))), .set(.pod, "shop", "b", .pod(pod("10.0.0.1"))))
    #expect(compiler.isScheduled(id, node: "n1"))
    #expect(!compiler.isScheduled(id, node: "n2"))
    #expect(!compiler.isScheduled(SPIFFEID("spiffe://cluster.local/ns/shop/sa/other")!, node: "n1"))
    #expect(!compiler.isScheduled(SPIFFEID("spiffe://cluster.local/ns/other/sa/default")!, node: "n1"))
    #expect(!compiler.isScheduled(SPIFFEID("spiffe://example.org/ns/shop/sa/default")!, node: "n1"))
    _ = compiler.apply([.remove(.pod, "shop", "a")])
    #expect(compiler.isScheduled(id, node: "n1"))
    var ended = pod("10.0.0.1")
    ended.hasEnded = true
    _ = compiler.apply([.set(.pod, "shop", "b", .pod(ended))])
    #expect(!compiler.isScheduled(id, node: "n1"))
    _ = compiler.apply([.set(.pod, "shop", "b", .pod(pod("10.0.0.1", node: "")))])
    #expect(!compiler.isScheduled(id, node: ""))
  }
}

@Suite struct EndpointSliceCompilerTests {
  private let database = ServiceObject(
    addresses: [IPAddress("10.96.0.9")!], ports: [.init(port: 5432, name: "sql", target: .number(5432))])

  private func slice(_ addresses: String..., service: String = "db", isReady: Bool = true) -> EndpointSliceObject {
    EndpointSliceObject(
      service: service, endpoints: addresses.map { .init(address: IPAddress($0)!, isReady: isReady, node: "n7") },
      ports: [.init(name: "sql", port: 15432)])
  }

  private let member = Workload.Membership(
    service: ServiceKey("shop/db")!, ports: [.init(servicePort: 5432, targetPort: 15432)])

  @Test func addressesOutsideTheClusterAreWorkloads() {
    var compiler = MeshCompiler(config: MeshConfig())
    _ = compiler.apply([.set(.endpointSlice, "shop", "db-1", .endpointSlice(slice("192.0.2.1", "192.0.2.2")))])
    #expect(compiler.workloads.isEmpty, "there is no such Service yet")
    _ = compiler.apply([.set(.service, "shop", "db", .service(database))])
    #expect(Set(compiler.workloads.keys) == ["endpointslice/shop/db-1/192.0.2.1", "endpointslice/shop/db-1/192.0.2.2"])
    let workload = compiler.workloads["endpointslice/shop/db-1/192.0.2.1"]
    #expect(workload?.isMeshed == false && workload?.isReady == true && workload?.node == "n7")
    #expect(workload?.memberships == [member])
    let delta = compiler.apply([.set(.endpointSlice, "shop", "db-1", .endpointSlice(slice("192.0.2.2")))])
    #expect(delta == MeshDelta(removedWorkloads: ["endpointslice/shop/db-1/192.0.2.1"]))
    _ = compiler.apply([.remove(.service, "shop", "db")])
    #expect(compiler.workloads.isEmpty)
  }

  @Test func aKnownPodsAddressIsThatPod() {
    var compiler = MeshCompiler(config: MeshConfig())
    _ = compiler.apply([
      .set(.endpointSlice, "shop", "db-1", .endpointSlice(slice("10.0.0.1"))),
      .set(.service, "shop", "db", .service(database)),
    ])
    #expect(Set(compiler.workloads.keys) == ["endpointslice/shop/db-1/10.0.0.1"])
    let pod = PodObject(node: "n1", addresses: [IPAddress("10.0.0.1")!], enrolment: .enabled)
    let delta = compiler.apply([.set(.pod, "data", "pg", .pod(pod))])
    #expect(delta.removedWorkloads == ["endpointslice/shop/db-1/10.0.0.1"])
    #expect(delta.workloads["data/pg"]?.memberships == [member])
    #expect(delta.workloads["data/pg"]?.isMeshed == true)
    _ = compiler.apply([.remove(.pod, "data", "pg")])
    #expect(Set(compiler.workloads.keys) == ["endpointslice/shop/db-1/10.0.0.1"])
  }

  @Test func slicesTakeThePlaceOfTheSelector() {
    var selecting = database
    selecting.selector = ["app": "db"]
    let pod = PodObject(labels: ["app": "db"], node: "n1", addresses: [IPAddress("10.0.0.1")!])
    var compiler = MeshCompiler(config: MeshConfig())
    _ = compiler.apply([
      .set(.pod, "shop", "a", .pod(pod)), .set(.service, "shop", "db", .service(selecting)),
    ])
    #expect(compiler.workloads["shop/a"]?.memberships.map(\.ports.first?.targetPort) == [5432])
    _ = compiler.apply([.set(.endpointSlice, "shop", "db-1", .endpointSlice(slice("192.0.2.1")))])
    #expect(compiler.workloads["shop/a"]?.memberships == [])
    _ = compiler.apply([.remove(.endpointSlice, "shop", "db-1")])
    #expect(compiler.workloads["shop/a"]?.memberships.count == 1)
  }

  @Test func unreadyEndpoints() {
    let pod = PodObject(node: "n1", addresses: [IPAddress("10.0.0.1")!])
    var publishing = database
    publishing.publishNotReadyAddresses = true
    var compiler = MeshCompiler(config: MeshConfig())
    _ = compiler.apply([
      .set(.pod, "shop", "a", .pod(pod)), .set(.service, "shop", "db", .service(database)),
      .set(.endpointSlice, "shop", "db-1", .endpointSlice(slice("10.0.0.1", "192.0.2.1", isReady: false))),
    ])
    #expect(compiler.workloads["endpointslice/shop/db-1/192.0.2.1"]?.isReady == false)
    #expect(compiler.workloads["shop/a"]?.memberships == [])
    _ = compiler.apply([.set(.service, "shop", "db", .service(publishing))])
    #expect(compiler.workloads["shop/a"]?.memberships == [member])
  }
}
