import KubernetesAPI
import Testing

@testable import CLI

@Suite struct InstallStateTests {
  @Test func aDeploymentIsDoneWhenOnlyNewPodsAreAvailable() throws {
    func rollout(_ status: String, generation: Int = 2) throws -> Rollout {
      Rollout.of(
        deployment: try JSONReader.read(
          Array(#"{"metadata":{"generation":\#(generation)},"spec":{"replicas":2},"status":\#(status)}"#.utf8)))
    }
    let done = #"{"observedGeneration":2,"replicas":2,"updatedReplicas":2,"availableReplicas":2}"#
    #expect(try rollout(done).isDone)
    #expect(try !rollout(done, generation: 3).isDone)
    #expect(try !rollout(#"{"observedGeneration":2,"replicas":3,"updatedReplicas":2,"availableReplicas":2}"#).isDone)
    #expect(try !rollout(#"{"observedGeneration":2,"replicas":2,"updatedReplicas":1,"availableReplicas":2}"#).isDone)
    #expect(try !rollout("{}").isDone)
    let refused = try rollout(
      #"{"observedGeneration":2,"conditions":[{"type":"ReplicaFailure","status":"True","message":"quota"}]}"#)
    #expect(refused.problem == "quota")
  }

  @Test func aDaemonSetIsDoneWhenEveryNodeHasTheNewPod() throws {
    func isDone(_ status: String) throws -> Bool {
      Rollout.of(
        daemonSet: try JSONReader.read(Array(#"{"metadata":{"generation":1},"status":\#(status)}"#.utf8))
      ).isDone
    }
    #expect(
      try isDone(
        #"{"observedGeneration":1,"desiredNumberScheduled":3,"updatedNumberScheduled":3,"numberAvailable":3}"#))
    #expect(
      try !isDone(
        #"{"observedGeneration":1,"desiredNumberScheduled":3,"updatedNumberScheduled":2,"numberAvailable":3}"#))
    // Not looked at yet: no node is wanted, and nothing is done.
    #expect(try !isDone(#"{"desiredNumberScheduled":0}"#))
  }

  @Test func aPodSaysWhyItIsNotReady() throws {
    func reason(_ status: String, node: String = "n") throws -> String? {
      PodTrouble.reason(try JSONReader.read(Array(#"{"spec":{"nodeName":"\#(node)"},"status":\#(status)}"#.utf8)))
    }
    #expect(try reason(#"{"conditions":[{"type":"Ready","status":"True"}]}"#) == nil)
    #expect(
      try reason(#"{"conditions":[{"type":"PodScheduled","status":"False","message":"0/3 nodes"}]}"#)
        == "has no node: 0/3 nodes")
    #expect(
      try reason(
        #"{"containerStatuses":[{"name":"c","ready":false,"state":{"waiting":{"reason":"ErrImagePull","message":"no"}}}]}"#
      ) == "c waits: ErrImagePull: no")
    #expect(
      try reason(
        #"{"containerStatuses":[{"name":"c","ready":false,"lastState":{"terminated":{"exitCode":2,"message":"bad"}},"state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}"#
      ) == "c ended with status 2: bad")
    #expect(try reason("{}") == "hasn't been started by its node's kubelet")
  }

  @Test func anUpgradeShowsWhatAServerWouldChangeAndNothingElse() throws {
    let live = try JSONReader.read(
      Array(
        #"{"metadata":{"name":"a","generation":1,"resourceVersion":"5"},"spec":{"a":1,"b":[1,2]},"status":{"x":1}}"#
          .utf8))
    var same = live
    same.set(["metadata", "generation"], to: 2)
    same.set(["status", "x"], to: 7)
    #expect(ManifestChange(live: live, applied: same) == .none)
    var other = live
    other.set(["spec", "a"], to: 2)
    other.set(["spec", "b"], to: [1, 3])
    other.set(["spec", "c"], to: true)
    #expect(ManifestChange(live: live, applied: other) == .changed(["spec.a", "spec.b[1]", "spec.c"]))
    #expect(ManifestChange(live: nil, applied: live) == .new)
  }

  @Test func pruningTakesWhatIsNoLongerMeantAndNeverDefinitions() throws {
    let wanted = try Rendering(overlay: .stubOnly).manifests()
    let before = try Rendering(overlay: .standard).manifests().map(\.identity)
    let definition = Manifest.Identity(kind: .customResourceDefinition, namespace: "", name: "olds.weft.dev")
    // Made by weft-control, and needed by every agent.
    let roots = Manifest.Identity(kind: .configMap, namespace: "weft-system", name: "weft-roots")
    let surplus = Pruning.surplus(of: before + [definition, roots], wanted: wanted)
    #expect(
      surplus.map(\.description) == ["DaemonSet weft-system/weft-agent", "ServiceAccount weft-system/weft-agent"])
  }

  @Test func theRecordBringsTheSettingsBack() throws {
    let values = try InstallValues(["image.tag=2", "control.replicas=3"])
    let rendering = Rendering(overlay: .small, values: values)
    let content = try #require(try rendering.manifests().first { $0.identity == InstallRecord.identity }?.content)
    let record = try InstallRecord(content)
    #expect(record.overlay == .small)
    #expect(record.values == values)
    #expect(record.values.merging(try InstallValues(["image.tag=3"])).lines == ["control.replicas=3", "image.tag=3"])
    var strange = content
    strange.set(["data", "overlay"], to: "giant")
    #expect(throws: Failure.self) { try InstallRecord(strange) }
  }

  @Test func nodesAreCleanedByAnAgentsPrivilegesWithoutItsToken() throws {
    let agent = try #require(try Rendering().manifests().first { $0.identity.kind == .daemonSet })
    let clean = try #require(NodeCleaning.manifest(from: agent))
    let pod = clean.content[["spec", "template", "spec"]]
    let container = pod?["containers"]?.elements.first
    #expect(container?["args"] == ["clean"])
    #expect(
      container?[["securityContext", "capabilities"]]
        == agent.content[["spec", "template", "spec", "containers"]]?.elements.first?[[
          "securityContext", "capabilities",
        ]])
    #expect(pod?["volumes"]?.elements.contains { $0["configMap"] != nil || $0["projected"] != nil } == false)
    #expect(clean.identity.name == "weft-clean")
    #expect(clean.content[["spec", "selector", "matchLabels"]] != agent.content[["spec", "selector", "matchLabels"]])
  }

  @Test func aReadyAgentsImageCleans() throws {
    func pod(_ image: String, ready: String) throws -> JSONNode {
      let text = """
        {"spec":{"nodeName":"n","containers":[{"image":"\(image)"}]},
         "status":{"conditions":[{"type":"Ready","status":"\(ready)"}]}}
        """
      return try JSONReader.read(Array(text.utf8))
    }
    #expect(try NodeCleaning.image(of: [pod("bad", ready: "False"), pod("good", ready: "True")]) == "good")
    #expect(try NodeCleaning.image(of: [pod("bad", ready: "False")]) == nil)
  }

  @Test func aNodeIsCleanOnceItsPodHasEndedWell() throws {
    func pod(_ node: String, _ status: String) throws -> JSONNode {
      try JSONReader.read(
        Array(
          #"{"spec":{"nodeName":"\#(node)"},"status":{"containerStatuses":[{"name":"c","ready":false,\#(status)}]}}"#
            .utf8))
    }
    let pods = [
      try pod("a", #""state":{"terminated":{"exitCode":0}}"#),
      try pod("b", #""lastState":{"terminated":{"exitCode":0}},"state":{"waiting":{"reason":"CrashLoopBackOff"}}"#),
      try pod("c", #""state":{"terminated":{"exitCode":1,"message":"busy"}}"#),
    ]
    let state = NodeCleaning.State(pods: pods)
    #expect(state.cleaned == ["a", "b"])
    #expect(state.waiting == ["c": "c ended with status 1: busy"])
    func daemonSet(_ count: Int) throws -> JSONNode {
      try JSONReader.read(
        Array(
          #"{"metadata":{"generation":1},"status":{"observedGeneration":1,"desiredNumberScheduled":\#(count)}}"#.utf8))
    }
    #expect(try !state.isDone(daemonSet: daemonSet(3)))
    #expect(try NodeCleaning.State(pods: Array(pods.prefix(2))).isDone(daemonSet: daemonSet(2)))
    #expect(try !NodeCleaning.State(pods: []).isDone(daemonSet: daemonSet(2)))
    #expect(!NodeCleaning.State(pods: []).isDone(daemonSet: nil))
  }
}
