import MeshModel
import Testing

@testable import ControlPlane

@Suite struct DecodingTests {
  private func objects(_ yaml: String) throws -> [ObjectKey: MeshObject] {
    let decoded = FileDecoder.decode(Array(yaml.utf8), file: "a.yaml")
    #expect(decoded.problems.map(\.description) == [])
    var objects: [ObjectKey: MeshObject] = [:]
    for entry in decoded.entries {
      if case .object(let key, let object, _) = entry.outcome { objects[key] = object }
    }
    return objects
  }

  private func only(_ yaml: String) throws -> MeshObject {
    let all = try objects(yaml)
    #expect(all.count == 1)
    return try #require(all.values.first)
  }

  private func notes(_ yaml: String) -> [String] {
    FileDecoder.decode(Array(yaml.utf8), file: "a.yaml").entries.map { entry in
      switch entry.outcome {
      case .object(_, _, let note): note
      case .ignored(let reason): reason
      case .refused(let problem): problem.description
      }
    }
  }

  @Test(arguments: [
    ("uid: 8f6b1b2e-0c55", "8f6b1b2e-0c55", Workload.Mode.node), ("labels: {}", "", .node),
    // A static pod: its cgroup carries its file's hash, and its mirror another UID.
    (
      "uid: 8f6b1b2e-0c55, annotations: {kubernetes.io/config.hash: 0123456789abcdef0123456789abcdef, "
        + "kubernetes.io/config.mirror: x}", "0123456789abcdef0123456789abcdef", .node
    ),
    // One that wants to be taken for another pod, or is no mirror.
    (
      "uid: 8f6b1b2e-0c55, annotations: {kubernetes.io/config.hash: 6a1b1b2e-0c55-4d11-8ab2-0123456789ab, "
        + "kubernetes.io/config.mirror: x}", "8f6b1b2e-0c55", .node
    ),
    (
      "uid: 8f6b1b2e-0c55, annotations: {kubernetes.io/config.hash: 0123456789abcdef0123456789abcdef}",
      "8f6b1b2e-0c55", .node
    ),
    ("annotations: {weft.dev/injected: tunnel}", "", .stubTunnel),
    ("annotations: {weft.dev/injected: handoff}", "", .stubHandoff),
  ])
  func howANodeNamesAPodAndWhoCarriesIt(_ metadata: String, _ uid: String, _ mode: Workload.Mode) throws {
    let object = try only(
      "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop, \(metadata)}, spec: {containers: []}}")
    guard case .pod(let pod) = object else {
      Issue.record("no pod")
      return
    }
    #expect(pod.uid == uid)
    #expect(pod.mode == mode)
  }

  @Test func podAsKubectlPrintsIt() throws {
    let pod = try only(
      """
      apiVersion: v1
      kind: Pod
      metadata:
        creationTimestamp: "2026-01-01T00:00:00Z"
        generateName: cart-
        labels: {app: cart, version: "1", weft.dev/mesh: disabled, weft.dev/fail-mode: open}
        name: cart-x
        namespace: shop
        managedFields: [{manager: kubectl}]
      spec:
        serviceAccountName: carter
        nodeName: n1
        hostname: one
        subdomain: cart
        tolerations: []
        containers:
        - name: app
          image: nginx
          ports:
          - {name: web, containerPort: 8080, protocol: TCP}
          - {name: dns, containerPort: 53, protocol: UDP}
          - {name: sctp, containerPort: 54, protocol: SCTP}
          livenessProbe: {httpGet: {port: web, path: /healthz, scheme: HTTP}, periodSeconds: 3}
          readinessProbe: {tcpSocket: {port: 9000}}
          startupProbe: {grpc: {port: 9001, service: x}}
        - name: other
          readinessProbe: {httpGet: {port: 1, host: 192.0.2.1}}
          livenessProbe: {exec: {command: [ls]}}
        initContainers:
        - {name: once, ports: [{name: setup, containerPort: 1}]}
        - {name: sidecar, restartPolicy: Always, ports: [{name: side, containerPort: 2}]}
      status:
        phase: Running
        podIP: 10.0.0.1
        podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}, {ip: 10.0.0.2}]
        conditions: [{type: Initialized, status: "True"}, {type: Ready, status: "False"}]
        containerStatuses: [{anything: 1}]
        somethingNew: {a: [b]}
      """)
    guard case .pod(let pod) = pod else { return #expect(Bool(false), "not a pod") }
    #expect(pod.serviceAccount == "carter" && pod.node == "n1" && pod.hostname == "one" && pod.subdomain == "cart")
    #expect(pod.enrolment == .disabled && pod.failMode == .open)
    #expect(pod.addresses == [IPAddress("10.0.0.1")!, IPAddress("fd00::1")!])
    #expect(!pod.isReady && !pod.hasEnded && !pod.usesHostNetwork)
    #expect(pod.ports.map(\.name) == ["web", "dns", "side"])
    #expect(pod.probePorts == [8080, 9000, 9001])
    #expect(pod.labels["version"] == "1")
  }

  @Test func podDefaults() throws {
    let pod = try only("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: i}]}")
    #expect(pod == .pod(PodObject()))
  }

  @Test(arguments: ["True", "\"True\"", "true"])
  func readiness(_ text: String) throws {
    let yaml = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}\nstatus: {conditions: [{type: Ready, status: "
    guard case .pod(let pod) = try only(yaml + "\(text)}]}") else { return #expect(Bool(false), "not a pod") }
    #expect(pod.isReady)
  }

  @Test func aPodBeingDeletedIsUnready() throws {
    let yaml = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, deletionTimestamp: \"2026-01-01T00:00:00Z\"}\nspec: {}"
    guard case .pod(let pod) = try only(yaml) else { return #expect(Bool(false), "not a pod") }
    #expect(!pod.isReady)
  }

  @Test func service() throws {
    let service = try only(
      """
      apiVersion: v1
      kind: Service
      metadata: {name: cart, namespace: shop}
      spec:
        type: LoadBalancer
        selector: {app: cart}
        clusterIP: 10.96.0.1
        clusterIPs: [10.96.0.1, "fd00:96::1"]
        publishNotReadyAddresses: true
        sessionAffinity: None
        ports:
        - {name: web, port: 80, targetPort: http, appProtocol: kubernetes.io/h2c, nodePort: 30000}
        - {name: dns, port: 53, protocol: UDP}
      status: {loadBalancer: {}}
      """)
    #expect(
      service
        == .service(
          ServiceObject(
            selector: ["app": "cart"], addresses: [IPAddress("10.96.0.1")!, IPAddress("fd00:96::1")!],
            ports: [
              .init(port: 80, name: "web", appProtocol: "kubernetes.io/h2c", target: .name("http")),
              .init(port: 53, name: "dns", transport: .udp, target: .number(53)),
            ], publishNotReadyAddresses: true)))
  }

  @Test func whatHasNoEffectIsSaid() {
    let head = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: "
    #expect(notes(head + "{clusterIP: None}") == [""])
    #expect(notes(head + "{type: ExternalName, externalName: example.org}")[0].hasPrefix("ignored: names outside"))
    #expect(notes(head + "{ports: [{port: 1}]}")[0].hasPrefix("has no clusterIP"))
    #expect(notes(head + "{clusterIP: 10.0.0.1, ports: [{port: 1, protocol: SCTP}]}")[0].contains("SCTP"))
    #expect(
      notes("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {anything: 1}")
        == ["ignored: Weft has no use for Deployment"])
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: "
    #expect(notes(slice + "IPv4")[0].hasPrefix("ignored: no label kubernetes.io/service-name"))
    #expect(notes(slice + "FQDN")[0].hasPrefix("ignored: endpoints by name"))
  }

  @Test func lists() throws {
    let yaml = """
      apiVersion: v1
      kind: List
      metadata: {resourceVersion: ""}
      items:
      - {apiVersion: v1, kind: Node, metadata: {name: n1}}
      - {apiVersion: v1, kind: ServiceAccount, metadata: {name: sa}, secrets: []}
      ---
      kind: NamespaceList
      apiVersion: v1
      items:
      - {metadata: {name: a, labels: {weft.dev/mesh: enabled}}, spec: {finalizers: [kubernetes]}, status: {}}
      ---
      # nothing
      ---
      {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "b"}}
      """
    let all = try objects(yaml)
    #expect(
      all.keys.sorted().map(\.description) == ["Namespace a", "Namespace b", "Node n1", "ServiceAccount default/sa"])
    #expect(all[ObjectKey(kind: .namespace, name: ObjectName("", "a"))] == .namespace(.init(enrolment: .enabled)))
  }

  @Test(arguments: ["", "\n", "# only a comment\n", "---\n---\n", "---\n~\n"])
  func emptyFiles(_ yaml: String) throws {
    #expect(try objects(yaml).isEmpty)
  }

  @Test func anchorsWithinBounds() throws {
    let yaml = """
      apiVersion: v1
      kind: Pod
      metadata: {name: a, labels: &labels {app: x}}
      spec: {nodeSelector: *labels}
      """
    guard case .pod(let pod) = try only(yaml) else { return #expect(Bool(false), "not a pod") }
    #expect(pod.labels == ["app": "x"])
  }

  @Test func endpointSlice() throws {
    let yaml = """
      apiVersion: discovery.k8s.io/v1
      kind: EndpointSlice
      metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
      addressType: IPv6
      endpoints:
      - {addresses: ["fd00::5"], conditions: {ready: false, serving: true}, hostname: five, nodeName: n1, zone: z}
      - {addresses: ["fd00::6"], targetRef: {kind: Pod, name: x}}
      ports: [{name: "", port: 5432, protocol: TCP, appProtocol: x}, {name: dns, port: 53, protocol: UDP}]
      """
    #expect(
      try only(yaml)
        == .endpointSlice(
          EndpointSliceObject(
            service: "db",
            endpoints: [
              .init(address: IPAddress("fd00::5")!, isReady: false, hostname: "five", node: "n1", zone: "z"),
              .init(address: IPAddress("fd00::6")!),
            ], ports: [.init(port: 5432), .init(name: "dns", port: 53, transport: .udp)])))
  }

  @Test func peerAuthentication() throws {
    let yaml =
      "apiVersion: weft.dev/v1alpha1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: weft-system}\n"
    #expect(try only(yaml + "spec: {mtls: {mode: STRICT}}") == .peerAuthentication(.init(mutualTLS: .strict)))
  }

  @Test(arguments: [
    ("90s", 90.0), ("10m", 600), ("24h", 86400), ("1h30m", 5400), ("1.5h", 5400), ("500ms", 0.5),
  ])
  func durations(_ text: String, _ seconds: Double) {
    #expect(GoDuration(text)?.seconds == seconds)
  }

  @Test(arguments: ["", "10", "-1s", "1d", "s", "1s 2m", "1h2"])
  func durationsThatAreNone(_ text: String) {
    #expect(GoDuration(text) == nil)
  }
}
