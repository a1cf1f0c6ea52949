import KubernetesAPI
import Testing

@testable import CLI

@Suite struct InstallTests {
  private func container(_ manifests: [Manifest], _ kind: InstallKind) -> JSONNode? {
    manifests.first { $0.identity.kind == kind }?.content[["spec", "template", "spec"]]?["containers"]?.elements.first
  }

  @Test(arguments: Overlay.allCases) func everyOverlayIsOfKnownKindsInTheOrderOfApplying(overlay: Overlay) throws {
    let manifests = try Rendering(overlay: overlay).manifests()
    #expect(manifests.map(\.identity.kind).first == .customResourceDefinition)
    #expect(manifests.map(\.identity.kind).last == .mutatingWebhookConfiguration)
    #expect(manifests.map(\.identity) == manifests.map(\.identity).sorted())
    #expect(manifests.contains { $0.identity.kind == .daemonSet } == overlay.hasAgents)
    for manifest in manifests {
      let labels = manifest.content[["metadata", "labels"]]
      #expect(labels?[Rendering.label]?.text == Rendering.labelValue, "\(manifest.identity) would never be removed")
      #expect(manifest.identity.kind.isClusterScoped == manifest.identity.namespace.isEmpty)
    }
  }

  private func maxUnavailable(_ values: InstallValues) throws -> JSONNode? {
    let agent = try Rendering(values: values).manifests().first { $0.identity.kind == .daemonSet }
    return agent?.content[["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"]]
  }

  @Test func everySettingChangesWhatItSays() throws {
    let values = try InstallValues([
      "image.registry=registry.example:5000/mesh", "image.tag=9.9", "image.pullPolicy=Always", "control.replicas=5",
      "control.cpu=1", "control.memory=3Gi", "agent.cpu=2", "agent.memory=4Gi",
      "agent.entersPods=false", "agent.maxUnavailable=25%", "agent.holdUnknown=0", "agent.holdUnseen=600",
      "agent.drainSeconds=60",
      "mesh.trustDomain=corp",
      "mesh.clusterDomain=corp.example", "mesh.certificateLifetime=90m", "log.level=debug",
      "webhook.failurePolicy=Ignore",
    ])
    #expect(values.values.count == InstallSetting.all.count)
    let manifests = try Rendering(values: values).manifests()
    let control = try #require(container(manifests, .deployment))
    #expect(control["image"]?.text == "registry.example:5000/mesh/weft-control:9.9")
    #expect(control["imagePullPolicy"]?.text == "Always")
    #expect(control[["resources", "requests", "cpu"]]?.text == "1")
    #expect(control[["resources", "limits", "memory"]]?.text == "3Gi")
    let arguments = control["args"]?.elements.compactMap(\.text) ?? []
    for argument in [
      "--trust-domain=corp", "--cluster-domain=corp.example", "--certificate-lifetime=90m", "--log-level=debug",
      "--stub-image=registry.example:5000/mesh/weft-stub:9.9",
    ] {
      #expect(arguments.contains(argument))
    }
    let agent = try #require(container(manifests, .daemonSet))
    #expect(agent["image"]?.text == "registry.example:5000/mesh/weft-agent:9.9")
    #expect(agent[["resources", "requests", "cpu"]]?.text == "2")
    #expect(agent[["resources", "limits", "memory"]]?.text == "4Gi")
    let flags = agent["args"]?.elements.compactMap(\.text) ?? []
    #expect(flags.contains("--control=weft-control.weft-system.svc.corp.example:15010"))
    #expect(flags.contains("--join=weft-control.weft-system.svc.corp.example:15012"))
    #expect(flags.contains("--hold-unknown=0") && flags.contains("--hold-unseen=600"))
    #expect(flags.contains("--drain-seconds=60"))
    let privileges = agent[["securityContext", "capabilities", "add"]]?.elements.compactMap(\.text) ?? []
    #expect(privileges.contains("NET_ADMIN") && !privileges.contains("SYS_ADMIN") && !privileges.contains("SYS_PTRACE"))
    #expect(try maxUnavailable(values) == "25%")
    #expect(try maxUnavailable(InstallValues(["agent.maxUnavailable=3"])) == 3)
    #expect(try maxUnavailable(InstallValues()) == 1)
    let deployment = manifests.first { $0.identity.kind == .deployment }
    #expect(deployment?.content[["spec", "replicas"]]?.integer == 5)
    let webhooks = manifests.last?.content["webhooks"]?.elements ?? []
    #expect(webhooks.count == 4)
    #expect(webhooks.allSatisfy { $0["failurePolicy"]?.text == "Ignore" })
  }

  @Test(arguments: [
    ("control.replica=3", "did you mean control.replicas?"), ("colour=red", "known are image.registry"),
    ("control.replicas", "give NAME=VALUE"), ("control.replicas=0", "a whole number from 1 to 9"),
    ("control.replicas=-1", "a whole number from 1 to 9"), ("image.tag=a b", "a tag of"),
    ("agent.entersPods=no", "one of true, false"), ("agent.maxUnavailable=0", "1 to 1000, or 1% to 100%"),
    ("agent.maxUnavailable=101%", "1 to 1000, or 1% to 100%"), ("agent.maxUnavailable=1001", "1 to 1000"),
    ("agent.maxUnavailable=-1", "1 to 1000"), ("agent.maxUnavailable=%", "1 to 1000"),
    ("agent.holdUnseen=2m", "in seconds"),
    ("agent.holdUnknown=3601", "0 to 3600"), ("agent.drainSeconds=86401", "0 to 86400"),
    ("image.registry=HTTPS://x", "a registry"),
    ("image.registry=", "a registry"), ("agent.memory=lots", "a quantity"),
    ("mesh.certificateLifetime=1s", "10m to 2160h"), ("log.level=loud", "one of debug"),
    ("mesh.trustDomain=", "a trust domain"), ("webhook.failurePolicy=fail", "one of Fail, Ignore"),
  ])
  func aSettingThatCanNotHoldIsRefused(text: String, reason: String) {
    let failure = #expect(throws: Failure.self) { try InstallValues([text]) }
    #expect(failure?.status == .usage)
    #expect(failure?.message.contains(reason) == true, "\(failure?.message ?? "")")
  }

  @Test func oldServersGetWhatTheyKnow() throws {
    let old = try Rendering(server: ServerVersion(minor: 20)).manifests()
    let new = try Rendering(server: ServerVersion(minor: 36)).manifests()
    func text(_ manifests: [Manifest], _ kind: InstallKind) -> String {
      manifests.filter { $0.identity.kind == kind }.map { String(decoding: $0.content.bytes, as: UTF8.self) }.joined()
    }
    #expect(!text(old, .customResourceDefinition).contains("x-kubernetes-validations"))
    #expect(text(new, .customResourceDefinition).contains("x-kubernetes-validations"))
    #expect(old.first { $0.identity.kind == .podDisruptionBudget }?.resource.version == "v1beta1")
    #expect(new.first { $0.identity.kind == .podDisruptionBudget }?.resource.version == "v1")
    #expect(text(old, .daemonSet).contains("container.apparmor.security.beta.kubernetes.io/weft-agent"))
    #expect(!text(new, .daemonSet).contains("apparmor.security.beta"))
    #expect(container(new, .daemonSet)?[["securityContext", "appArmorProfile", "type"]]?.text == "Unconfined")
  }

  @Test(
    arguments: [
      ("v1.31.2", 31), ("1.20", 20), ("v1.31.2-eks-1", 31), ("v1.27+", 27), ("v2.0.0", nil), ("1", nil), ("", nil),
      ("v1.x", nil),
    ] as [(String, Int?)])
  func serversSayTheirVersion(text: String, minor: Int?) {
    #expect(ServerVersion(text)?.minor == minor)
  }

  @Test func yamlQuotesWhatWouldBeReadAsSomethingElse() throws {
    let text = try Rendering.yaml(["a": "true", "b": "1.5", "c": true, "d": 7, "e": "0.1.0", "f": "", "g": "null"])
    #expect(text == "a: 'true'\nb: '1.5'\nc: true\nd: 7\ne: 0.1.0\nf: ''\ng: 'null'\n")
  }

  @Test func theAgentHasNoRightsAndTheControlPlaneIsRestricted() throws {
    let manifests = try Rendering().manifests()
    let subjects = manifests.flatMap { $0.content["subjects"]?.elements ?? [] }
    #expect(subjects.allSatisfy { $0["name"]?.text == "weft-control" })
    let control = try #require(container(manifests, .deployment))
    #expect(control[["securityContext", "allowPrivilegeEscalation"]] == false)
    #expect(control[["securityContext", "readOnlyRootFilesystem"]] == true)
    #expect(control[["securityContext", "capabilities", "drop"]] == ["ALL"])
    let pod = manifests.first { $0.identity.kind == .deployment }?.content[["spec", "template", "spec"]]
    #expect(pod?[["securityContext", "runAsNonRoot"]] == true)
    #expect(pod?[["securityContext", "seccompProfile", "type"]]?.text == "RuntimeDefault")
    for forbidden in ["hostNetwork", "hostPID", "hostIPC"] { #expect(pod?[forbidden] == nil) }
    #expect(container(manifests, .daemonSet)?[["securityContext", "privileged"]] == nil)
  }
}
