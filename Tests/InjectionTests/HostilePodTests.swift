import Injection
import KubernetesAPI
import Testing

/// Pods that would make the stub useless or lend it to others: refused in a sentence, or left as they are with a warning.
@Suite struct HostilePodTests {
  @Test(arguments: ["containers", "initContainers", "ephemeralContainers"], ["weft-stub", "weft-init"])
  func aContainerOfTheStubsName(list: String, name: String) {
    let app: JSONNode = ["name": "app"]
    let own: JSONNode = ["name": .text(name), "image": "evil"]
    let pod = samplePod(spec: [(list, list == "containers" ? [app, own] : [own])])
    #expect(refusal(of: pod).contains("called \(name)"))
  }

  @Test func aMarkWithoutItsStub() {
    #expect(refusal(of: samplePod(annotations: ["weft.dev/injected": "tunnel"])).contains("weft.dev/injected"))
  }

  @Test(arguments: ["weft-token", "weft-roots", "weft-run"]) func aVolumeOfTheStubsName(name: String) {
    #expect(refusal(of: samplePod(spec: [("volumes", [["name": .text(name)]])])).contains("volume called \(name)"))
  }

  @Test func aUserWhomTheMeshTakesForTheStub() {
    #expect(refusal(of: samplePod(spec: [("securityContext", ["runAsUser": 61_337])])).contains("61337"))
    let container: JSONNode = ["name": "app", "securityContext": ["runAsUser": 61_337]]
    #expect(refusal(of: samplePod(spec: [("containers", [container])])).contains("61337"))
    #expect(refusal(of: samplePod(spec: [("securityContext", ["runAsUser": 1000, "runAsNonRoot": true])])) == "")
  }

  @Test func aJobThatWouldNeverEnd() {
    let pod = samplePod(spec: [("restartPolicy", "Never")])
    #expect(refusal(of: pod, native: false).contains("never end"))
    #expect(refusal(of: pod) == "")
  }

  @Test func podsThatNeverHaveOne() throws {
    let pods = [
      samplePod(spec: [("hostNetwork", true)]), samplePod(annotations: ["kubernetes.io/config.mirror": "x"]),
      samplePod(spec: [("os", ["name": "windows"])]),
      samplePod(spec: [("nodeSelector", ["kubernetes.io/os": "windows"])]),
    ]
    for pod in pods {
      let injection = try StubInjector(settings()).inject(pod)
      #expect(injection.steps.isEmpty)
      #expect(injection.warnings.count == 1)
    }
  }

  static let shapeless: [(JSONNode, String)] = [
    (["metadata": [:]], "no spec"), (["spec": ["containers": []]], "containers is empty"),
    (["spec": ["containers": "x"]], "no list"), (["spec": ["containers": ["x"]]], "no map"),
    (["spec": ["containers": [["name": "a"]], "volumes": 1]], "volumes is no list"),
    (["metadata": [], "spec": ["containers": [["name": "a"]]]], "metadata is no map"),
    (["metadata": ["annotations": "x"], "spec": ["containers": [["name": "a"]]]], "annotations is no map"),
  ]

  @Test(arguments: shapeless) func noPodAtAll(pod: JSONNode, reason: String) {
    #expect(refusal(of: pod).contains(reason))
  }

  @Test func aKindThatMeansNothing() {
    #expect(refusal(of: samplePod(annotations: ["weft.dev/stub": "sidecar"])).contains("handoff or tunnel"))
  }
}
