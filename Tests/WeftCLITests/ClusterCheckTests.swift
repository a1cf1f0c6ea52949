import Foundation
import KubernetesAPI
import MeshModel
import Testing

@testable import CLI

/// Each check by facts of its own.
@Suite struct ClusterCheckTests {
  private static func json(_ text: String) throws -> JSONNode { try JSONReader.read(Array(text.utf8)) }
  private static func list(_ texts: String...) throws -> Fact<[JSONNode]> { .found(try texts.map(json)) }

  private static let now = Date(timeIntervalSince1970: 1_800_000_000)
  private static var facts: ClusterFacts { ClusterFacts(now: now) }

  private static func first(_ findings: [Finding], _ severity: Finding.Severity = .error) throws -> Finding {
    try #require(findings.first { $0.severity == severity }, "\(findings)")
  }

  private static let agentPod =
    #"{"metadata":{"name":"weft-agent-x","namespace":"weft-system","labels":{"app.kubernetes.io/name":"weft-agent"}},"#
    + #""spec":{"nodeName":"n1"},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}"#

  private static func agent(
    _ node: String = "n1", status: String = Samples.status, checks: [CheckAnswer.Entry] = [], pods: [String] = []
  ) throws -> ClusterFacts.Agent {
    let answer: StatusAnswer = try AgentAnswer.decode(Data(status.utf8), from: "")
    let known = #"{"workloads":[\#(pods.joined(separator: ","))]}"#
    let workloads: WorkloadsAnswer = try AgentAnswer.decode(Data(known.utf8), from: "")
    return .init(node: node, status: .success(answer), checks: checks, workloads: workloads.workloads)
  }

  private static func workload(_ name: String, _ state: String, _ reason: String = "") -> String {
    #"{"uid":"shop/\#(name)","namespace":"shop","name":"\#(name)","service_account":"a","node":"n1","addresses":[],"#
      + #""meshed":true,"ready":true,"local":true,"state":"\#(state)","reason":"\#(reason)","identity":""}"#
  }

  // MARK: Control plane

  @Test func replicas() throws {
    var facts = Self.facts
    #expect(try Self.first(ControlPlaneChecks.replicas(facts)).repair == "weft install")
    facts.deployment = .found(
      try Self.json(
        #"{"metadata":{"generation":1},"spec":{"replicas":2},"status":{"observedGeneration":1,"replicas":2,"updatedReplicas":2,"availableReplicas":1}}"#
      ))
    #expect(try Self.first(ControlPlaneChecks.replicas(facts)).reason.hasPrefix("1 of 2 replicas ready"))
    facts.deployment = .found(
      try Self.json(
        #"{"metadata":{"generation":1},"spec":{"replicas":1},"status":{"observedGeneration":1,"replicas":1,"updatedReplicas":1,"availableReplicas":1}}"#
      ))
    #expect(ControlPlaneChecks.replicas(facts).map(\.severity) == [.ok])
    facts.deployment = .unknown("forbidden")
    #expect(try Self.first(ControlPlaneChecks.replicas(facts), .warning).reason.contains("forbidden"))
  }

  @Test func leader() throws {
    var facts = Self.facts
    #expect(try Self.first(ControlPlaneChecks.leader(facts)).reason.contains("no replica has ever led"))
    func lease(_ ago: Double) throws -> Fact<JSONNode> {
      let time = Self.now.addingTimeInterval(-ago).formatted(.iso8601).dropLast() + ".123456Z"
      return .found(
        try Self.json(#"{"spec":{"holderIdentity":"c-1","leaseDurationSeconds":15,"renewTime":"\#(time)"}}"#))
    }
    facts.lease = try lease(10)
    #expect(ControlPlaneChecks.leader(facts) == [.ok("leader", "c-1")])
    facts.lease = try lease(40)
    #expect(try Self.first(ControlPlaneChecks.leader(facts)).reason.contains("c-1 led until"))
    facts.lease = .found(try Self.json(#"{"spec":{"holderIdentity":""}}"#))
    #expect(try Self.first(ControlPlaneChecks.leader(facts)).reason.contains("no replica leads"))
  }

  @Test func access() throws {
    var facts = Self.facts
    #expect(try Self.first(ControlPlaneChecks.access(facts)).repair == "weft upgrade")
    let role = try #require(
      try Rendering().manifests().first { $0.identity.kind == .clusterRole && $0.identity.name == "weft-control" }
    ).content
    let subject = #"{"kind":"ServiceAccount","name":"weft-control","namespace":"weft-system"}"#
    facts.clusterRole = .found(role)
    facts.clusterRoleBinding = .found(try Self.json(#"{"roleRef":{"name":"weft-control"},"subjects":[\#(subject)]}"#))
    #expect(
      ControlPlaneChecks.access(facts).map(\.place) == ["Role and RoleBinding weft-control"],
      "in its namespace it may nothing")
    let own = try #require(
      try Rendering().manifests().first { $0.identity.kind == .role && $0.identity.name == "weft-control" }
    ).content
    facts.role = .found(own)
    facts.roleBinding = facts.clusterRoleBinding
    #expect(ControlPlaneChecks.access(facts).map(\.severity) == [.ok])
    facts.role = .found(try Self.json(#"{"rules":[]}"#))
    #expect(try Self.first(ControlPlaneChecks.access(facts)).reason.contains("leases"))
    facts.role = .found(own)
    facts.bindings = try Self.list(
      #"{"metadata":{"name":"extra"},"subjects":[{"kind":"ServiceAccount","name":"weft-agent","namespace":"weft-system"}]}"#
    )
    #expect(
      try Self.first(ControlPlaneChecks.access(facts), .warning).repair == "kubectl delete clusterrolebinding extra")
    facts.clusterRole = .found(try Self.json(#"{"rules":[{"apiGroups":[""],"resources":["*"],"verbs":["*"]}]}"#))
    #expect(try Self.first(ControlPlaneChecks.access(facts)).reason.contains("endpointslices"))
    facts.clusterRoleBinding = .found(try Self.json(#"{"roleRef":{"name":"weft-control"},"subjects":[]}"#))
    #expect(ControlPlaneChecks.access(facts).contains { $0.reason.contains("doesn't give the role") })
  }

  // MARK: Definitions, certificates

  @Test func definitions() throws {
    var facts = Self.facts
    facts.definitions = .found([])
    let findings = DefinitionChecks.findings(facts)
    #expect(findings.contains { $0.place.hasSuffix("trafficpolicies.weft.dev") && $0.severity == .error })
    #expect(findings.contains { $0.place.hasSuffix("httproutes.gateway.networking.k8s.io") && $0.severity == .warning })
    func definition(_ name: String, _ version: String, _ established: String = "True") -> String {
      #"{"metadata":{"name":"\#(name)"},"spec":{"versions":[{"name":"\#(version)","served":true}]},"#
        + #""status":{"conditions":[{"type":"Established","status":"\#(established)","message":"names clash"}]}}"#
    }
    let gateway = ["httproutes", "grpcroutes"].map { definition("\($0).gateway.networking.k8s.io", "v1") }
    let own = ["trafficpolicies.weft.dev", "peerauthentications.weft.dev"]
    facts.definitions = .found(try (gateway + own.map { definition($0, "v1alpha1") }).map(Self.json))
    #expect(DefinitionChecks.findings(facts).map(\.severity) == [.ok])
    facts.definitions = .found(try (gateway + own.map { definition($0, "v9") }).map(Self.json))
    #expect(try Self.first(DefinitionChecks.findings(facts)).reason.contains("doesn't serve v1alpha1"))
    facts.definitions = .found(try (gateway + own.map { definition($0, "v1alpha1", "False") }).map(Self.json))
    #expect(try Self.first(DefinitionChecks.findings(facts)).reason.contains("names clash"))
  }

  @Test func olderDefinitionsAreNamedWithWhatTheyDrop() throws {
    var facts = Self.facts
    let own = try Rendering().manifests().filter { $0.identity.kind == .customResourceDefinition }.map(\.content)
    let gateway = try ["httproutes", "grpcroutes"].map {
      try Self.json(
        #"{"metadata":{"name":"\#($0).gateway.networking.k8s.io"},"spec":{"versions":[{"name":"v1","served":true}]}}"#)
    }
    facts.definitions = .found(gateway + own)
    #expect(DefinitionChecks.findings(facts).map(\.severity) == [.ok])
    func changed(_ change: (inout JSONNode) -> Void) -> [JSONNode] {
      own.map { definition in
        guard definition.name == "trafficpolicies.weft.dev" else { return definition }
        var older = definition
        older.editElements(["spec", "versions"]) { version in
          change(&version)
        }
        return older
      }
    }
    let spec = ["schema", "openAPIV3Schema", "properties", "spec"]
    facts.definitions = .found(
      gateway
        + changed {
          $0.set(spec + ["properties", "hedging"], to: nil)
          $0.set(spec + ["properties", "clients", "items", "properties", "serviceAccount"], to: nil)
        })
    let finding = try Self.first(DefinitionChecks.findings(facts))
    #expect(finding.severity == .error && finding.repair == "weft upgrade")
    #expect(finding.reason.hasSuffix("drops spec.clients.serviceAccount, spec.hedging"), "\(finding.reason)")
    facts.definitions = .found(
      gateway
        + changed {
          $0.set(spec + ["properties", "hedging"], to: nil)
          $0.set(spec + ["x-kubernetes-preserve-unknown-fields"], to: .truth(true))
        })
    #expect(DefinitionChecks.findings(facts).map(\.severity) == [.ok], "nothing is dropped there")
  }

  @Test func roots() throws {
    var facts = Self.facts
    #expect(try Self.first(CertificateChecks.roots(facts)).reason.contains("agents don't start"))
    for content in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
      facts.roots = .found(["data": ["ca.pem": .text(content)]])
      #expect(try Self.first(CertificateChecks.roots(facts)).place == "ConfigMap weft-system/weft-roots")
    }
    facts.roots = .found(["data": ["ca.pem": .text(CertificateSample.pem)]])
    facts.now = CertificateSample.end.addingTimeInterval(-90 * 86400)
    #expect(CertificateChecks.roots(facts).map(\.severity) == [.ok])
    facts.now = CertificateSample.end.addingTimeInterval(-86400)
    let warning = try Self.first(CertificateChecks.roots(facts), .warning)
    // What still holds isn't to be deleted.
    #expect(warning.reason.hasPrefix("expires in 1d0h") && warning.repair.contains("a new root beside the old one"))
    facts.now = CertificateSample.end.addingTimeInterval(1)
    #expect(try Self.first(CertificateChecks.roots(facts)).repair.contains("delete secret weft-ca"))
    facts.now = Date(timeIntervalSince1970: 0)
    #expect(try Self.first(CertificateChecks.roots(facts)).reason.contains("clock"))
  }

  @Test func webhook() throws {
    var facts = Self.facts
    #expect(CertificateChecks.webhook(facts).map(\.severity) == [.warning])
    func configuration(_ bundles: String...) -> JSONNode {
      ["webhooks": .array(bundles.map { ["clientConfig": ["caBundle": .text($0)]] })]
    }
    let good = Data(CertificateSample.pem.utf8).base64EncodedString()
    facts.now = CertificateSample.end.addingTimeInterval(-90 * 86400)
    facts.webhook = .found(configuration(good, good))
    #expect(CertificateChecks.webhook(facts).map(\.severity) == [.ok])
    facts.webhook = .found(configuration(good, ""))
    #expect(try Self.first(CertificateChecks.webhook(facts)).repair.contains("rollout restart deployment/weft-control"))
    facts.webhook = .found(configuration(good))
    facts.now = CertificateSample.end.addingTimeInterval(1)
    #expect(try Self.first(CertificateChecks.webhook(facts)).reason.contains("expired"))
  }

  // MARK: Nodes

  @Test func coverage() throws {
    var facts = Self.facts
    #expect(NodeChecks.coverage(facts).map(\.severity) == [.warning])
    facts.record = .found(
      try JSONReader.read(Array(#"{"data":{"version":"0.1.0","overlay":"stub-only","values":""}}"#.utf8)))
    #expect(NodeChecks.coverage(facts).map(\.severity) == [.ok])
    facts.daemonSet = .found([:])
    facts.nodes = try Self.list(
      #"{"metadata":{"name":"n1"}}"#, #"{"metadata":{"name":"n2"}}"#,
      #"{"metadata":{"name":"w","labels":{"kubernetes.io/os":"windows"}}}"#)
    facts.pods = try Self.list(Self.agentPod)
    let findings = NodeChecks.coverage(facts)
    #expect(findings.map(\.place) == ["node n2"])
    facts.pods = try Self.list(
      Self.agentPod.replacing("\"True\"", with: "\"False\""), Self.agentPod.replacing("n1", with: "n2"))
    #expect(try Self.first(NodeChecks.coverage(facts)).place == "node n1")
  }

  @Test func kernels() throws {
    var facts = Self.facts
    func node(_ name: String, _ kernel: String) -> String {
      #"{"metadata":{"name":"\#(name)"},"status":{"nodeInfo":{"kernelVersion":"\#(kernel)"}}}"#
    }
    facts.nodes = try Self.list(node("a", "6.1.0-13-amd64"), node("b", "5.15.0"), node("c", ""))
    #expect(NodeChecks.kernels(facts).map(\.severity) == [.ok])
    facts.nodes = try Self.list(node("a", "5.4.0-generic"), node("b", "4.19.2"))
    #expect(NodeChecks.kernels(facts).map(\.place) == ["node a", "node b"])
  }

  @Test func whatAgentsSay() throws {
    var facts = Self.facts
    facts.agents = [
      try Self.agent(
        status: Samples.brokenStatus,
        checks: [.init(name: "control plane", ok: false, detail: "not connected", repair: "start it")]),
      .init(node: "n2", status: .failure(Failure(message: "it is away", status: .unreachable))),
    ]
    let findings = NodeChecks.agents(facts)
    #expect(findings.map(\.check) == ["configuration", "control plane", "agents"])
    #expect(findings[0].reason.contains("refuses shop/a") && findings[1].repair == "start it")
    #expect(findings[2].place == "node n2" && findings[2].reason == "it is away")
  }

  @Test func versions() throws {
    var facts = Self.facts
    facts.version = "1.2"
    facts.agents = [try Self.agent()]
    facts.controlVersions = ["c-1": "1.2"]
    #expect(NodeChecks.versions(facts) == [.ok("versions", "1.2 everywhere")])
    facts.version = "1.3"
    #expect(NodeChecks.versions(facts).map(\.severity) == [.warning])
    facts.controlVersions = ["c-1": "1.3"]
    #expect(try Self.first(NodeChecks.versions(facts)).reason.contains("1.2: agent of n1; 1.3: c-1"))
  }

  // MARK: Pods and objects

  private static func pod(_ name: String, _ metadata: String = "", _ spec: String = "", phase: String = "Running")
    -> String
  {
    #"{"metadata":{"name":"\#(name)","namespace":"shop"\#(metadata)},"spec":{"nodeName":"n1"\#(spec)},"status":{"phase":"\#(phase)"}}"#
  }

  private static func podFindings(
    _ pods: [String], agents: [ClusterFacts.Agent], accounts: [String] = [], node: String? = nil
  ) throws -> [Finding] {
    var facts = Self.facts
    facts.node = node
    facts.accounts = .found(try accounts.map(json))
    facts.namespaces = try list(
      #"{"metadata":{"name":"shop","labels":{"weft.dev/mesh":"enabled"}}}"#, #"{"metadata":{"name":"street"}}"#)
    facts.pods = .found(try pods.map(json))
    facts.agents = agents
    return PodChecks.findings(facts)
  }

  @Test func podsThatAreCaptured() throws {
    let findings = try Self.podFindings(
      [
        Self.pod("a"), Self.pod("b", #","annotations":{"weft.dev/injected":"tunnel"}"#),
        Self.pod("c", #","labels":{"weft.dev/mesh":"disabled"}"#), Self.pod("d", phase: "Succeeded"),
        Self.pod("e", #","deletionTimestamp":"2026-01-01T00:00:00Z""#), Self.pod("f").replacing("shop", with: "street"),
        Self.pod("g", phase: "Pending"),
      ], agents: [Self.agent(pods: [Self.workload("a", "enrolled"), Self.workload("g", "pending")])])
    #expect(findings == [.ok("pods", "3 in the mesh, all captured")])
  }

  @Test func podsWithStubs() throws {
    func status(_ ready: Bool) -> String {
      #""status":{"containerStatuses":[{"name":"weft-stub","ready":\#(ready)}],"#
    }
    let injected = #","annotations":{"weft.dev/injected":"tunnel"}"#
    let findings = try Self.podFindings(
      [
        Self.pod("up", injected).replacing(#""status":{"#, with: status(true)),
        Self.pod("down", injected).replacing(#""status":{"#, with: status(false)),
        Self.pod("before", "", #","serviceAccountName":"s""#).replacing("shop", with: "street"),
        Self.pod("no", #","labels":{"weft.dev/mode":"node"}"#, #","serviceAccountName":"s""#)
          .replacing("shop", with: "street"),
      ], agents: [],
      accounts: [#"{"metadata":{"name":"s","namespace":"street","labels":{"weft.dev/mode":"stub"}}}"#])
    #expect(findings.map(\.place) == ["pod shop/down", "pod street/before"])
    #expect(findings[0].repair == "kubectl -n shop logs down -c weft-stub")
    #expect(findings[1].reason.contains("made before its label"))
  }

  @Test func podsOfOneNode() throws {
    let agent = try Self.agent(pods: [Self.workload("a", "enrolled")])
    let pods = [Self.pod("a"), Self.pod("far").replacing("n1", with: "n9")]
    #expect(try Self.podFindings(pods, agents: [agent], node: "n1") == [.ok("pods", "1 in the mesh, all captured")])
  }

  @Test func podsThatAreNot() throws {
    let agent = try Self.agent(pods: [Self.workload("failed", "failed", "no cgroup"), Self.workload("late", "pending")])
    let stub =
      #","labels":{"weft.dev/mode":"stub","pod-template-hash":"5d"},"ownerReferences":[{"kind":"ReplicaSet","name":"web-5d"}]"#
    let findings = try Self.podFindings(
      [
        Self.pod("failed"), Self.pod("late"), Self.pod("unknown"), Self.pod("host", "", #","hostNetwork":true"#),
        Self.pod("stub", stub), Self.pod("far").replacing("n1", with: "n9"),
      ], agents: [agent])
    #expect(findings.map(\.place) == ["failed", "late", "unknown", "host", "stub", "far"].map { "pod shop/\($0)" })
    #expect(findings[0].reason.contains("no cgroup"))
    #expect(findings[2].reason.contains("hasn't heard of it"))
    #expect(findings[3].severity == .warning)
    #expect(findings[4].repair == "kubectl -n shop rollout restart deployment/web")
    #expect(findings[5].reason.contains("no agent runs on its node n9"))
  }

  @Test func objects() throws {
    var facts = Self.facts
    let condition = #"{"type":"ResolvedRefs","status":"False","reason":"BackendNotFound","message":"no Service x"}"#
    let other = #"{"controllerName":"other/one","conditions":[{"type":"Accepted","status":"False"}]}"#
    facts.objects = [
      (
        "HTTPRoute",
        try Self.list(
          #"{"metadata":{"name":"web","namespace":"shop"},"status":{"parents":[{"controllerName":"weft.dev/mesh","conditions":[\#(condition)]}]}}"#,
          #"{"metadata":{"name":"theirs","namespace":"shop"},"status":{"parents":[\#(other)]}}"#)
      ),
      ("TCPRoute", .absent),
      (
        "TrafficPolicy",
        try Self.list(
          #"{"metadata":{"name":"slow","namespace":"shop"},"status":{"conditions":[{"type":"Accepted","status":"True"}]}}"#
        )
      ),
    ]
    let findings = ObjectChecks.findings(facts)
    #expect(findings.map(\.place) == ["HTTPRoute shop/web"])
    #expect(findings[0].reason == "not ResolvedRefs: BackendNotFound (no Service x)")
  }

  // MARK: Output

  @Test func output() throws {
    let findings = [
      Finding.ok("leader", "c-1"),
      Finding(severity: .warning, check: "CA", place: "ConfigMap x", reason: "expires", repair: "do"),
      Finding(severity: .error, check: "agents", place: "node \u{1b}", reason: "none"),
    ]
    #expect(
      findings.text(Style(isUnicode: true)) == """
        ✓ leader  c-1
        ! CA      ConfigMap x: expires
                  repair: do
        ✗ agents  node \\u{1B}: none

        """)
    #expect(findings.status == .unhealthy && [findings[1]].status == .fine)
    #expect(
      try Self.json(findings.json())["findings"]?.elements.map { $0["severity"]?.text } == ["ok", "warning", "error"])
    let many = [Finding](repeating: findings[2], count: 25).cut()
    #expect(many.count == 21 && many[20].reason == "and 5 more")
  }
}

enum CertificateSample {
  static let pem = """
    -----BEGIN CERTIFICATE-----
    MIIBfTCCASOgAwIBAgIURhCGKSJFjjBkrRmIq542+RVeUb4wCgYIKoZIzj0EAwIw
    FDESMBAGA1UEAwwJd2VmdCByb290MB4XDTI2MTEyNjA5MjAyOVoXDTM2MTEyMzA5
    MjAyOVowFDESMBAGA1UEAwwJd2VmdCByb290MFkwEwYHKoZIzj0CAQYIKoZIzj0D
    AQcDQgAEtxzVJY86K4ZZoRNRGloApn3IK1siz7BlIJWTAgKViPeMZI5FuwwevuG4
    Bra8E3ws/NWB2pnL1GSqAb1GxtYFs6NTMFEwHQYDVR0OBBYEFIF3LQ4qWneQNogf
    5BxR25HkRFaEMB8GA1UdIwQYMBaAFIF3LQ4qWneQNogf5BxR25HkRFaEMA8GA1Ud
    EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAMB1Cr2mxQLsxNUzSDOK81+u
    mVvrgx+Iy0l8S5CKGpGvAiAvKbFDS1lb05ILWQ7WEHFZlw+cvUo8aznr1gGMhGys
    fg==
    -----END CERTIFICATE-----
    """
  static let end = Date(timeIntervalSince1970: 2111044829)
}
