import Injection
import KubernetesAPI
import Testing

@Suite struct StubInjectorTests {
  @Test func aTunnelIsASetupStepAndASidecarBeforeAllElse() throws {
    let pod = samplePod(spec: [("initContainers", [["name": "migrate", "image": "i"]])])
    let result = try injected(pod)
    #expect(names(result, "initContainers") == ["weft-init", "weft-stub", "migrate"])
    #expect(names(result, "containers") == ["app"])
    #expect(names(result, "volumes") == ["weft-token", "weft-roots"])
    #expect(result["metadata"]?["annotations"]?["weft.dev/injected"] == "tunnel")
    let stub = try #require(container(result, "initContainers", "weft-stub"))
    #expect(stub["restartPolicy"] == "Always")
    #expect(stub["startupProbe"]?["exec"]?["command"] == ["/weft-stub", "wait", "--timeout", "8"])
    let token = try #require(container(result, "volumes", "weft-token"))
    #expect(
      token["projected"]?["sources"]?.elements.first?["serviceAccountToken"]
        == ["path": "token", "audience": "weft", "expirationSeconds": 3600])
  }

  @Test(arguments: StubKind.allCases, [true, false])
  func theStubHasNoRights(kind: StubKind, native: Bool) throws {
    let result = try injected(samplePod(), kind, native: native)
    let context = try #require(container(result, native ? "initContainers" : "containers", "weft-stub"))[
      "securityContext"]
    #expect(context?["runAsUser"] == 61_337)
    #expect(context?["runAsNonRoot"] == true)
    #expect(context?["readOnlyRootFilesystem"] == true)
    #expect(context?["allowPrivilegeEscalation"] == false)
    #expect(context?["capabilities"] == ["drop": ["ALL"]])
    let setup = container(result, "initContainers", "weft-init")
    #expect((setup != nil) == (kind == .tunnel))
    if let setup {
      #expect(setup["securityContext"]?["capabilities"] == ["drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]])
      #expect(setup["securityContext"]?["privileged"] == false)
    }
  }

  @Test func handoffSeesTheAgentsSocketForStubsAndNothingElseOfTheNode() throws {
    let result = try injected(samplePod(annotations: ["weft.dev/stub": "handoff"]))
    #expect(names(result, "initContainers") == ["weft-stub"])
    let volume = try #require(container(result, "volumes", "weft-run"))
    #expect(volume["hostPath"] == ["path": "/run/weft/stub", "type": "Directory"])
    let stub = try #require(container(result, "initContainers", "weft-stub"))
    #expect(stub["volumeMounts"] == [["name": "weft-run", "mountPath": "/run/weft", "readOnly": true]])
    #expect(result["metadata"]?["annotations"]?["weft.dev/injected"] == "handoff")
  }

  @Test func withoutNativeSidecarsItIsTheFirstContainerAndHoldsTheRest() throws {
    let result = try injected(samplePod(), native: false)
    #expect(names(result, "initContainers") == ["weft-init"])
    #expect(names(result, "containers") == ["weft-stub", "app"])
    let stub = try #require(container(result, "containers", "weft-stub"))
    #expect(stub["restartPolicy"] == nil)
    #expect(stub["lifecycle"]?["postStart"]?["exec"]?["command"] == ["/weft-stub", "wait", "--timeout", "60"])
  }

  @Test func initContainersThatCanReachNothingAreTold() throws {
    let pod = samplePod(spec: [("initContainers", [["name": "migrate", "image": "i"]])])
    let old = try StubInjector(settings(native: false)).inject(pod)
    #expect(old.warnings.contains { $0.contains("init containers") })
    #expect(try StubInjector(settings()).inject(pod).warnings.isEmpty)
  }

  @Test(arguments: [StubKind.tunnel, .handoff], [true, false])
  func injectingAgainChangesNothing(kind: StubKind, native: Bool) throws {
    let once = try injected(samplePod(annotations: ["a": "b"]), kind, native: native)
    #expect(try StubInjector(settings(native: native)).inject(once, kind: kind).steps == [])
    #expect(try StubInjector(settings(native: native, renews: true)).inject(once, kind: kind).steps == [])
  }

  @Test func anEarlierInjectionIsMadeAnewWhereThatIsAsked() throws {
    let once = try injected(samplePod(annotations: ["weft.dev/injected2": "x"]), .tunnel, native: false)
    let again = try injected(once, .handoff, renews: true)
    #expect(again == (try injected(samplePod(annotations: ["weft.dev/injected2": "x"]), .handoff)))
    #expect(try injected(once, .handoff) == once)
  }

  static let originals: [JSONNode] = [
    samplePod(), samplePod(annotations: ["a": "b"]),
    samplePod(spec: [("volumes", [["name": "v"]]), ("restartPolicy", "Always")]),
    samplePod(spec: [("initContainers", [["name": "i"]]), ("terminationGracePeriodSeconds", 5)]),
    ["spec": ["containers": [["name": "app"]]]],
  ]

  @Test(arguments: originals, [true, false])
  func removingGivesBackWhatWas(pod: JSONNode, native: Bool) throws {
    for kind in StubKind.allCases {
      let with = try injected(pod, kind, native: native)
      #expect(with != pod)
      #expect(try with.applying(StubInjector(settings()).remove(with)) == pod)
    }
    #expect(try StubInjector(settings()).remove(pod) == [])
  }

  @Test func nullIsAbsence() throws {
    let pod = samplePod(annotations: .null, spec: [("volumes", .null), ("initContainers", .null)])
    let result = try injected(pod)
    #expect(names(result, "initContainers") == ["weft-init", "weft-stub"])
    #expect(
      result["metadata"]?["annotations"]
        == ["weft.dev/injected": "tunnel", "kubectl.kubernetes.io/default-container": "app"])
  }

  @Test func kubectlIsToldWhichContainerIsMeant() throws {
    let key = "kubectl.kubernetes.io/default-container"
    let pod = samplePod(annotations: [key: "other"])
    let result = try injected(pod, native: false)
    #expect(result["metadata"]?["annotations"]?[key] == "other", "what the user says stays")
    #expect(try result.applying(StubInjector(settings()).remove(result)) == pod)
  }
}
