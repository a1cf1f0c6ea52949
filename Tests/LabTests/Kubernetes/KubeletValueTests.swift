import Foundation
import KubernetesAPI
import Testing

@testable import Lab

private func object(_ json: String) throws -> KubernetesObject {
  try KubernetesObject(try JSONReader.read(Array(json.utf8)))
}

@Suite struct CgroupNamesTests {
  private let uid = "1a2b3c4d-0000-1111-2222-333344445555"

  @Test func systemdNamesSlicesByTheirParents() {
    let names = CgroupNames(runtime: LabState.NodeRuntime())
    #expect(
      names.pod(uid: uid, qos: .burstable)
        == "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1a2b3c4d_0000_1111_2222_333344445555.slice")
    #expect(
      names.pod(uid: uid, qos: .guaranteed) == "kubepods.slice/kubepods-pod1a2b3c4d_0000_1111_2222_333344445555.slice")
    #expect(names.leaf("ab") == "cri-containerd-ab.scope")
    #expect(CgroupNames(runtime: LabState.NodeRuntime(engine: .crio)).leaf("ab") == "crio-ab.scope")
  }

  @Test func cgroupfsNamesPlainFolders() {
    let names = CgroupNames(runtime: LabState.NodeRuntime(driver: .cgroupfs))
    #expect(names.pod(uid: uid, qos: .bestEffort) == "kubepods/besteffort/pod\(uid)")
    #expect(names.pod(uid: uid, qos: .guaranteed) == "kubepods/pod\(uid)")
    #expect(names.leaf("ab") == "ab")
    #expect(CgroupNames(runtime: LabState.NodeRuntime(driver: .cgroupfs, engine: .crio)).leaf("ab") == "crio-ab")
  }

  @Test func anIdHas64HexadecimalDigits() {
    let id = CgroupNames.newID()
    #expect(id.count == 64 && id.allSatisfy(\.isHexDigit) && id != CgroupNames.newID())
  }
}

@Suite struct ImageTableTests {
  private func table() throws -> ImageTable {
    var table = ImageTable()
    let folder = try Folder(["images.yaml": "example.org/web:1: [python3, -m, http.server]\nplain: [sleep]\n"])
    for value in try ManifestFiles.values("\(folder.path)/images.yaml") {
      try table.add(Field(file: "images.yaml", object: value))
    }
    return table
  }

  @Test func anImageIsTheTablesOrAProgramBesideOrTheContainersCommand() throws {
    let table = try table()
    let isWeft = { (name: String) in name == "weft-agent" }
    #expect(
      table.arguments("example.org/web:1", command: [], args: [], programs: isWeft)
        == ["python3", "-m", "http.server"])
    #expect(table.arguments("example.org/web:1", command: [], args: ["-V"], programs: isWeft) == ["python3", "-V"])
    #expect(table.arguments("plain:2@sha256:00", command: [], args: [], programs: isWeft) == ["sleep"])
    #expect(
      table.arguments("ghcr.io:443/weft-mesh/weft-agent:0.1.0", command: [], args: ["--node", "a"], programs: isWeft)
        == ["weft-agent", "--node", "a"])
    #expect(
      table.arguments("busybox", command: ["sh", "-c"], args: ["true"], programs: isWeft) == ["sh", "-c", "true"])
    #expect(table.arguments("busybox", command: [], args: ["true"], programs: isWeft) == nil)
  }

  @Test func aTableThatIsNoneSaysWhere() throws {
    var table = ImageTable()
    let root = Field(file: "images.yaml", object: .map([("web", .list([]))]))
    #expect(throws: LabError.self) { try table.add(root) }
  }
}

@Suite struct CapabilitiesTests {
  @Test func whatIsDroppedGoesBeforeWhatIsAdded() throws {
    func bounding(_ json: String) throws -> UInt64 { Capabilities.bounding(try JSONReader.read(Array(json.utf8))) }
    // What containerd leaves a container that asks for nothing.
    #expect(Capabilities.bounding(nil) == 0xa804_25fb)
    #expect(try bounding(#"{"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "CAP_BPF"]}}"#) == 1 << 12 | 1 << 39)
    #expect(try bounding(#"{"capabilities": {"drop": ["ALL"]}}"#) == 0)
    #expect(try bounding(#"{"privileged": true}"#) == .max)
  }
}

@Suite struct AtomicVolumeTests {
  private func file(_ text: String, mode: mode_t = 0o644) -> AtomicVolume.File {
    AtomicVolume.File(bytes: Array(text.utf8), mode: mode)
  }

  @Test func filesChangeAllAtOnceAndGo() throws {
    let folder = try Folder()
    let path = "\(folder.path)/volume"
    try AtomicVolume.write(["a": file("1"), "deep/b": file("2", mode: 0o400)], to: path)
    #expect(Files.text("\(path)/a") == "1" && Files.text("\(path)/deep/b") == "2")
    let first = try FileManager.default.destinationOfSymbolicLink(atPath: "\(path)/..data")
    // The same again touches nothing.
    try AtomicVolume.write(["a": file("1"), "deep/b": file("2", mode: 0o400)], to: path)
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "\(path)/..data") == first)
    try AtomicVolume.write(["a": file("3")], to: path)
    #expect(Files.text("\(path)/a") == "3")
    #expect(!Files.exists("\(path)/deep") && !Files.exists("\(path)/\(first)"))
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "\(path)/a") == "..data/a")
  }

  @Test(arguments: ["../x", "a/../../x", "/x", "", "..data"])
  func noPathLeadsOut(_ path: String) throws {
    let folder = try Folder()
    #expect(throws: LabError.self) { try AtomicVolume.write([path: file("x")], to: "\(folder.path)/volume") }
  }
}

@Suite struct VolumeContentTests {
  @Test func itemsChooseAndName() throws {
    let map = try object(
      #"{"metadata": {"name": "m", "resourceVersion": "1"}, "data": {"a": "1", "b": "2"}, "binaryData": {"c": "AP8="}}"#
    )
    let all = try VolumeContent.files(of: map.content, isSecret: false, source: [:], name: "m")
    #expect(all.keys.sorted() == ["a", "b", "c"] && all["c"]?.bytes == [0, 255])
    let source = try JSONReader.read(Array(#"{"items": [{"key": "b", "path": "x/y", "mode": 256}]}"#.utf8))
    let some = try VolumeContent.files(of: map.content, isSecret: false, source: source, name: "m")
    #expect(some == ["x/y": AtomicVolume.File(bytes: Array("2".utf8), mode: 0o400)])
  }

  @Test func whatIsMissingIsAnErrorUnlessOptional() throws {
    #expect(throws: LabError.self) {
      try VolumeContent.files(of: nil, isSecret: true, source: [:], name: "s")
    }
    #expect(try VolumeContent.files(of: nil, isSecret: true, source: ["optional": true], name: "s").isEmpty)
  }
}

@Suite struct ServiceTests {
  private func views() throws -> [ServiceView] {
    let service = try object(
      """
      {"metadata": {"name": "web", "namespace": "shop", "resourceVersion": "1"},
       "spec": {"clusterIP": "10.96.3.4", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "none", "port": 81}]}}
      """)
    let each = try object(
      """
      {"metadata": {"name": "each", "namespace": "shop", "resourceVersion": "1"},
       "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}}
      """)
    let slices = try ["web", "each"].map { name in
      try object(
        """
        {"metadata": {"name": "\(name)-x", "namespace": "shop", "resourceVersion": "1",
          "labels": {"kubernetes.io/service-name": "\(name)"}}, "addressType": "IPv4",
         "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
         "endpoints": [
          {"addresses": ["10.244.0.3"], "conditions": {"ready": true}, "hostname": "one"},
          {"addresses": ["10.244.1.2"], "conditions": {}},
          {"addresses": ["10.244.1.9"], "conditions": {"ready": false}}]}
        """)
    }
    return ServiceView.views(services: [service, each], slices: slices)
  }

  @Test func onlyReadyEndpointsAreTargets() throws {
    let views = try views()
    #expect(views.map(\.id.name) == ["each", "web"])
    #expect(views[1].ports[0].targets.map(\.address) == ["10.244.0.3", "10.244.1.2"])
    #expect(views[1].ports[1].targets.isEmpty)
  }

  @Test func addressesLeadToTargetsByChanceAndToNothingAreRefused() throws {
    let script = ServiceRules.script(try views())
    #expect(
      script.contains(
        "ip daddr 10.96.3.4 tcp dport 80 dnat ip to numgen random mod 2 map { 0 : 10.244.0.3 . 8080, 1 : 10.244.1.2 . 8080 }\n"
      ))
    #expect(script.contains("ip daddr 10.96.3.4 tcp dport 81 reject\n"))
    #expect(script.contains("{ 10.244.0.3 . 10.244.0.3, 10.244.1.2 . 10.244.1.2 } masquerade"))
    #expect(!ServiceRules.script([]).contains("masquerade"))
  }

  @Test func namesLeadToTheServiceOrToEachEndpoint() throws {
    #expect(
      DNSRecords.hosts(try views()).split(separator: "\n") == [
        "10.244.0.3 each.shop.svc.cluster.local", "10.244.0.3 one.each.shop.svc.cluster.local",
        "10.244.1.2 each.shop.svc.cluster.local", "10.96.3.4 web.shop.svc.cluster.local",
      ])
  }
}

@Suite struct AddressPoolTests {
  @Test func whatWasGivenBackIsNotGivenAtOnce() throws {
    let pool = AddressPool()
    let first = try #require(pool.take(node: 0))
    #expect(first.address == "10.244.0.2")
    pool.giveBack(first)
    let second = try #require(pool.take(node: 0))
    #expect(second.address == "10.244.0.3" && second.index != first.index)
    #expect(pool.take(node: 1)?.address == "10.244.1.2")
  }

  @Test func aNodeHasSoManyAndNoMore() {
    let pool = AddressPool()
    let all = (0..<AddressPool.slots).compactMap { _ in pool.take(node: 0)?.address }
    #expect(Set(all).count == AddressPool.slots)
    #expect(pool.take(node: 0) == nil)
  }
}

@Suite struct PodStatusTests {
  private func pod(policy: String = "Always") throws -> PodSpec {
    try #require(
      PodSpec(
        try object(
          """
          {"metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "7"},
           "spec": {"nodeName": "east", "restartPolicy": "\(policy)", "containers": [{"name": "app", "image": "i"}]},
           "status": {"qosClass": "Burstable", "conditions": [
            {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}]}}
          """)))
  }

  private func lifecycle(_ policy: PodSpec.RestartPolicy = .always) -> PodLifecycle {
    PodLifecycle(
      initContainers: [], containers: [.init(name: "app", probes: [:], hasPreStop: false)], restartPolicy: policy,
      grace: 0, now: 0)
  }

  @Test func othersConditionsStay() throws {
    var life = lifecycle()
    _ = life.handle(.sandboxMade, now: 0)
    _ = life.handle(.started("app", id: "x"), now: 0)
    var since: [String: (status: Bool, since: Int64)] = [:]
    let status = PodStatus(lifecycle: life, pod: try pod(), addresses: ["10.244.0.2"], hostAddress: "10.200.0.10")
    let node = status.node(&since, now: 1_000)
    let types = node["conditions"]?.elements.compactMap { $0["type"]?.text }
    #expect(types == ["PodScheduled", "Initialized", "Ready", "ContainersReady"])
    #expect(node["conditions"]?.elements[2]["status"]?.text == "True")
    #expect(node["conditions"]?.elements[2]["lastTransitionTime"]?.text == "1970-01-01T00:00:01Z")
    #expect(node["podIP"]?.text == "10.244.0.2" && node["phase"]?.text == "Running")
    // A condition keeps its time while it stays.
    let later = status.node(&since, now: 60_000)
    #expect(later["conditions"]?.elements[2]["lastTransitionTime"]?.text == "1970-01-01T00:00:01Z")
  }

  @Test func phasesFollowTheContainers() throws {
    func phase(_ life: PodLifecycle, _ policy: String) throws -> String {
      PodStatus(lifecycle: life, pod: try pod(policy: policy), addresses: [], hostAddress: "").phase
    }
    var life = lifecycle(.never)
    #expect(try phase(life, "Never") == "Pending")
    _ = life.handle(.sandboxMade, now: 0)
    _ = life.handle(.started("app", id: "x"), now: 0)
    #expect(try phase(life, "Never") == "Running")
    var good = life
    _ = good.handle(.exited("app", id: "x", code: 0, signal: 0, message: ""), now: 0)
    #expect(try phase(good, "Never") == "Succeeded")
    _ = life.handle(.exited("app", id: "x", code: 0, signal: 9, message: ""), now: 0)
    #expect(try phase(life, "Never") == "Failed")
  }
}
