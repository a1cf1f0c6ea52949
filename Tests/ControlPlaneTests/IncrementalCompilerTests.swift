import MeshModel
import Testing

@testable import ControlPlane

/// SplitMix64: the same sequence on every machine.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}

/// Random objects out of few names, labels and addresses, so that they meet often.
private struct World {
  var random: SeededGenerator
  var objects: [ObjectKey: MeshObject] = [:]

  mutating func change() -> ObjectChange {
    let namespace = pick(["a", "b"])
    let name = pick(["p", "q", "r", "s", "t"])
    let kind = pick([Kind.pod, .pod, .pod, .service, .service, .namespace, .endpointSlice, .peerAuthentication])
    let key =
      switch kind {
      case .namespace: ObjectKey(kind: kind, name: ObjectName("", namespace))
      case .peerAuthentication: ObjectKey(kind: kind, name: ObjectDecoder.meshWide)
      default: ObjectKey(kind: kind, name: ObjectName(namespace, name))
      }
    let object = Int.random(in: 0..<4, using: &random) == 0 ? nil : make(kind)
    objects[key] = object
    return ObjectChange(key: key, object: object)
  }

  private mutating func pick<Element>(_ elements: [Element]) -> Element {
    elements.randomElement(using: &random)!
  }

  private mutating func labels() -> [String: String] {
    var labels: [String: String] = [:]
    for key in ["app", "tier"] where Bool.random(using: &random) { labels[key] = pick(["x", "y"]) }
    return labels
  }

  private mutating func address() -> IPAddress { IPAddress("10.0.0.\(Int.random(in: 1...6, using: &random))")! }

  private mutating func make(_ kind: Kind) -> MeshObject {
    switch kind {
    case .pod:
      return .pod(
        PodObject(
          labels: labels(), serviceAccount: pick(["default", "x"]), node: pick(["", "n1", "n2"]),
          usesHostNetwork: pick([true, false, false]), addresses: pick([true, true, false]) ? [address()] : [],
          hasEnded: pick([true, false, false, false]), isReady: Bool.random(using: &random),
          enrolment: pick([.enabled, .disabled, .unsaid]),
          ports: pick([true, false]) ? [.init(name: "http", port: 8080, transport: .tcp)] : []))
    case .service:
      return .service(
        ServiceObject(
          selector: labels(), isExternalName: pick([true, false, false, false]),
          ports: [
            .init(port: 80, name: "web", target: pick([.number(80), .name("http")])),
            .init(port: 81, name: "other", target: .number(pick([1, 2]))),
          ], publishNotReadyAddresses: Bool.random(using: &random)))
    case .endpointSlice:
      let addresses = Set([address(), address()]).sorted { $0.low < $1.low }
      return .endpointSlice(
        EndpointSliceObject(
          service: pick(["p", "q", "r", ""]),
          endpoints: addresses.map { .init(address: $0, isReady: Bool.random(using: &random)) },
          ports: [.init(name: pick(["web", "other"]), port: pick([1, 2]))]))
    case .peerAuthentication: return .peerAuthentication(.init(mutualTLS: pick([.strict, .permissive])))
    default: return .namespace(.init(enrolment: pick([.enabled, .disabled, .unsaid])))
    }
  }
}

@Suite struct IncrementalCompilerTests {
  /// After every batch, what the deltas add up to is what a compiler that sees only the end state makes.
  @Test(arguments: 1...40) func incrementalEqualsFull(_ seed: UInt64) {
    var world = World(random: SeededGenerator(state: seed))
    var compiler = MeshCompiler(config: MeshConfig())
    var workloads: [String: Workload] = [:]
    var services: [ServiceKey: Service] = [:]
    var config: MeshConfig?
    for step in 0..<150 {
      let count = Int.random(in: 1...4, using: &world.random)
      let delta = compiler.apply((0..<count).map { _ in world.change() })
      for id in delta.removedWorkloads { #expect(workloads.removeValue(forKey: id) != nil) }
      for (id, workload) in delta.workloads { #expect(workloads.updateValue(workload, forKey: id) != workload) }
      for key in delta.removedServices { #expect(services.removeValue(forKey: key) != nil) }
      for (key, service) in delta.services { #expect(services.updateValue(service, forKey: key) != service) }
      config = delta.config ?? config

      var full = MeshCompiler(config: MeshConfig())
      _ = full.apply(world.objects.map { ObjectChange(key: $0, object: $1) })
      let isSame =
        workloads == full.workloads && services == full.services && config == full.config
        && compiler.meshedNodes == full.meshedNodes
      #expect(isSame, "seed \(seed), step \(step)")
      guard isSame else { return }
      for node in ["n1", "n2"] {
        for account in ["spiffe://cluster.local/ns/a/sa/x", "spiffe://cluster.local/ns/b/sa/default"] {
          #expect(
            compiler.isScheduled(SPIFFEID(account)!, node: node) == full.isScheduled(SPIFFEID(account)!, node: node))
        }
      }
    }
  }
}

@Suite struct CompilerScaleTests {
  /// 10,000 Services and 100,000 pods in 100 namespaces: one change recompiles what it touches.
  @Test func oneChangeCostsWhatItTouches() {
    var changes: [ObjectChange] = []
    for space in 0..<100 {
      changes.append(.set(.namespace, "", "ns\(space)", .namespace(.init(enrolment: .enabled))))
      for service in 0..<100 {
        changes.append(
          .set(
            .service, "ns\(space)", "svc\(service)",
            .service(
              ServiceObject(
                selector: ["app": "app\(service)", "part-of": "shop"],
                addresses: [IPAddress(v4: 0x0a60_0000 + UInt32(space * 100 + service))],
                ports: [.init(port: 80, target: .number(8080))]))))
        for pod in 0..<10 {
          changes.append(podChange(space, service, pod, isReady: true))
        }
      }
    }
    var compiler = MeshCompiler(config: MeshConfig())
    let all = compiler.apply(changes)
    #expect(all.workloads.count == 100_000 && all.services.count == 10_000)
    #expect(all.workloads.values.allSatisfy { $0.memberships.count == 1 && $0.isMeshed })
    #expect(compiler.work == .init(workloads: 100_000, services: 10_000, slices: 0))

    func cost(_ change: ObjectChange) -> (work: MeshCompiler.Work, delta: MeshDelta) {
      let before = compiler.work
      let delta = compiler.apply([change])
      let after = compiler.work
      return (
        .init(
          workloads: after.workloads - before.workloads, services: after.services - before.services,
          slices: after.slices - before.slices), delta
      )
    }
    let pod = cost(podChange(7, 7, 7, isReady: false))
    #expect(pod.work == .init(workloads: 1, services: 0, slices: 0) && pod.delta.workloads.count == 1)
    let removed = cost(.remove(.pod, "ns7", "pod7-8"))
    #expect(removed.work == .init(workloads: 1, services: 0, slices: 0) && removed.delta.removedWorkloads.count == 1)
    let service = cost(
      .set(
        .service, "ns9", "svc9",
        .service(
          ServiceObject(
            selector: ["app": "app10", "part-of": "shop"], addresses: [IPAddress("10.97.0.1")!],
            ports: [.init(port: 80, target: .number(8080))]))))
    #expect(service.work == .init(workloads: 20, services: 1, slices: 0) && service.delta.workloads.count == 20)
    let namespace = cost(.remove(.namespace, "", "ns3"))
    #expect(namespace.work == .init(workloads: 1000, services: 0, slices: 0))
  }

  private func podChange(_ space: Int, _ service: Int, _ pod: Int, isReady: Bool) -> ObjectChange {
    let index = (space * 100 + service) * 10 + pod
    return .set(
      .pod, "ns\(space)", "pod\(service)-\(pod)",
      .pod(
        PodObject(
          labels: ["app": "app\(service)", "part-of": "shop", "pod": "\(index)"], node: "n\(index % 50)",
          addresses: [IPAddress(v4: 0x0b00_0000 + UInt32(index))], isReady: isReady)))
  }
}
