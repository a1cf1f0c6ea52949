import KubernetesAPI
import Testing

@testable import Lab

/// One pod whose actions are collected; time is said by each test.
private struct Pod {
  var lifecycle: PodLifecycle
  var actions: [PodLifecycle.Action] = []

  init(
    initContainers: [String] = [], containers: [String] = ["app"], probes: [ProbeKind: ProbeSpec] = [:],
    policy: PodSpec.RestartPolicy = .always, hasPreStop: Bool = false, grace: Int64 = 30_000
  ) {
    func plan(_ name: String) -> PodLifecycle.Plan {
      PodLifecycle.Plan(name: name, probes: containers.contains(name) ? probes : [:], hasPreStop: hasPreStop)
    }
    lifecycle = PodLifecycle(
      initContainers: initContainers.map(plan), containers: containers.map(plan), restartPolicy: policy, grace: grace,
      now: 0)
    actions = lifecycle.advance(0)
  }

  /// What the event asked for.
  @discardableResult
  mutating func tell(_ event: PodLifecycle.Event, at now: Int64 = 0) -> [PodLifecycle.Action] {
    actions = lifecycle.handle(event, now: now)
    return actions
  }

  @discardableResult
  mutating func wait(until now: Int64) -> [PodLifecycle.Action] {
    actions = lifecycle.advance(now)
    return actions
  }

  mutating func exit(_ name: String, code: Int32 = 0, signal: Int32 = 0, at now: Int64) -> [PodLifecycle.Action] {
    tell(.exited(name, id: lifecycle.container(name)?.id ?? "", code: code, signal: signal, message: ""), at: now)
  }

  /// With its sandbox made and `names` started.
  mutating func run(_ names: String..., at now: Int64 = 0) {
    tell(.sandboxMade, at: now)
    for name in names { tell(.started(name, id: "\(name)-0"), at: now) }
  }
}

private func probe(_ json: String) throws -> ProbeSpec {
  ProbeSpec(try JSONReader.read(Array(json.utf8)), ports: ["http": 8080])
}

@Suite struct PodLifecycleTests {
  @Test func theSandboxComesBeforeEveryContainer() {
    var pod = Pod(containers: ["app", "side"])
    #expect(pod.actions == [.makeSandbox])
    #expect(pod.tell(.sandboxMade) == [.start("app"), .start("side")])
    #expect(pod.wait(until: 5000) == [])
  }

  @Test func aSandboxThatFailsIsMadeAgain() {
    var pod = Pod()
    #expect(pod.tell(.sandboxFailed("no address"), at: 100) == [])
    #expect(pod.lifecycle.deadline == 100 + PodLifecycle.retry)
    #expect(pod.wait(until: 1099) == [])
    #expect(pod.wait(until: 1100) == [.makeSandbox])
  }

  @Test func initContainersRunOneAfterTheOther() {
    var pod = Pod(initContainers: ["first", "second"])
    #expect(pod.tell(.sandboxMade) == [.start("first")])
    #expect(pod.tell(.started("first", id: "1")) == [])
    #expect(!pod.lifecycle.isInitialized)
    #expect(pod.exit("first", at: 10) == [.start("second")])
    pod.tell(.started("second", id: "2"))
    #expect(pod.exit("second", at: 20) == [.start("app")])
    #expect(pod.lifecycle.isInitialized)
  }

  @Test func anInitContainerThatFailsIsTriedAgainOrEndsThePod() {
    var pod = Pod(initContainers: ["first"])
    pod.run("first")
    #expect(pod.exit("first", code: 1, at: 10) == [.start("first")])
    var once = Pod(initContainers: ["first"], policy: .never)
    once.run("first")
    #expect(once.exit("first", code: 1, at: 10) == [.removeSandbox])
  }

  @Test func whatEndsIsStartedAgainByItsPolicyAndLaterEachTime() {
    var pod = Pod()
    pod.run("app")
    #expect(pod.exit("app", code: 1, at: 1000) == [.start("app")])
    pod.tell(.started("app", id: "1"), at: 1000)
    #expect(pod.exit("app", code: 1, at: 2000) == [])
    #expect(pod.lifecycle.container("app")?.restarts == 2)
    #expect(
      pod.lifecycle.container("app")?.state
        == .waiting(reason: "CrashLoopBackOff", message: "back-off 10s restarting failed container=app"))
    #expect(pod.lifecycle.deadline == 12_000)
    #expect(pod.wait(until: 12_000) == [.start("app")])
    pod.tell(.started("app", id: "2"), at: 12_000)
    #expect(pod.exit("app", code: 1, at: 13_000) == [])
    #expect(pod.lifecycle.deadline == 33_000)
    _ = pod.wait(until: 33_000)
    // Having run long enough it begins anew.
    pod.tell(.started("app", id: "3"), at: 33_000)
    #expect(pod.exit("app", at: 33_000 + PodLifecycle.calm) == [.start("app")])
  }

  @Test(arguments: [(PodSpec.RestartPolicy.never, Int32(1)), (.onFailure, 0), (.never, 0)])
  func aPodThatIsOverLosesItsSandboxAndKeepsItsObject(_ policy: PodSpec.RestartPolicy, code: Int32) {
    var pod = Pod(policy: policy)
    pod.run("app")
    #expect(pod.exit("app", code: code, at: 10) == [.removeSandbox])
    #expect(pod.tell(.sandboxRemoved) == [])
    #expect(pod.tell(.deleted(grace: 0)) == [.removeObject])
  }

  @Test func deletionAsksFirstAndKillsWhenTheGraceIsOver() {
    var pod = Pod(containers: ["app", "side"])
    pod.run("app", "side")
    #expect(pod.tell(.deleted(grace: 5000), at: 1000) == [.terminate("app"), .terminate("side")])
    #expect(pod.exit("side", at: 1100) == [])
    #expect(pod.lifecycle.deadline == 6000)
    #expect(pod.wait(until: 5999) == [])
    #expect(pod.wait(until: 6000) == [.kill("app")])
    #expect(pod.wait(until: 7000) == [])
    #expect(pod.exit("app", signal: 9, at: 7001) == [.removeSandbox])
    #expect(pod.tell(.sandboxRemoved) == [.removeObject])
    #expect(pod.lifecycle.isGone)
  }

  @Test func theHookRunsBeforeTheSignalAndWithinTheGrace() {
    var pod = Pod(hasPreStop: true)
    pod.run("app")
    #expect(pod.tell(.deleted(grace: 5000), at: 0) == [.preStop("app", limit: 5000)])
    #expect(pod.tell(.preStopped("app", id: "app-0"), at: 1000) == [.terminate("app")])
    #expect(pod.wait(until: 5000) == [.kill("app")])
  }

  @Test func aShorterGraceTakesTheLongerOnesPlace() {
    var pod = Pod()
    pod.run("app")
    pod.tell(.deleted(grace: 30_000), at: 0)
    #expect(pod.tell(.deleted(grace: 0), at: 100) == [.kill("app")])
  }

  @Test func aPodDeletedBeforeItRanMakesNothing() {
    var pod = Pod()
    pod.tell(.deleted(grace: 1000))
    #expect(pod.tell(.sandboxMade) == [.removeSandbox])
    #expect(pod.tell(.sandboxRemoved) == [.removeObject])
  }

  @Test func whatIsBeingStartedWhenThePodIsDeletedIsEndedToo() {
    var pod = Pod()
    pod.tell(.sandboxMade)
    #expect(pod.tell(.deleted(grace: 1000), at: 0) == [])
    #expect(pod.tell(.started("app", id: "1"), at: 10) == [.terminate("app")])
  }

  @Test func anImageThatIsUnknownIsAskedForAgain() {
    var pod = Pod()
    pod.tell(.sandboxMade)
    pod.tell(.notStarted("app", reason: "ErrImagePull", message: "none"), at: 500)
    #expect(pod.lifecycle.container("app")?.state == .waiting(reason: "ErrImagePull", message: "none"))
    #expect(pod.wait(until: 1499) == [])
    #expect(pod.wait(until: 1500) == [.start("app")])
  }

  @Test func aContainerIsReadyWhenItsProbeSaysSo() throws {
    var pod = Pod(probes: [.readiness: try probe(#"{"tcpSocket": {"port": "http"}, "periodSeconds": 5}"#)])
    pod.tell(.sandboxMade)
    #expect(pod.tell(.started("app", id: "1"), at: 0) == [.probe("app", .readiness)])
    #expect(pod.lifecycle.container("app")?.isReady == false)
    // Not asked twice at once.
    #expect(pod.wait(until: 10_000) == [])
    pod.tell(.probed("app", id: "1", .readiness, isSuccess: false), at: 10_000)
    #expect(pod.lifecycle.deadline == 10_000 + ProbeState.eager)
    #expect(pod.wait(until: 10_250) == [.probe("app", .readiness)])
    pod.tell(.probed("app", id: "1", .readiness, isSuccess: true), at: 10_300)
    #expect(pod.lifecycle.container("app")?.isReady == true)
    #expect(pod.lifecycle.deadline == 15_300)
    // An answer of an earlier run counts for nothing.
    pod.tell(.probed("app", id: "0", .readiness, isSuccess: false), at: 10_400)
    #expect(pod.lifecycle.deadline == 15_300)
  }

  @Test func aContainerThatIsNotAliveIsEndedAndStartedAgain() throws {
    var pod = Pod(
      probes: [.liveness: try probe(#"{"exec": {"command": ["true"]}, "failureThreshold": 2}"#)], grace: 3000)
    pod.run("app")
    pod.tell(.probed("app", id: "app-0", .liveness, isSuccess: false), at: 0)
    #expect(pod.wait(until: 10_000) == [.probe("app", .liveness)])
    #expect(pod.tell(.probed("app", id: "app-0", .liveness, isSuccess: false), at: 10_001) == [.terminate("app")])
    #expect(pod.wait(until: 13_001) == [.kill("app")])
    #expect(pod.exit("app", signal: 9, at: 13_002) == [.start("app")])
  }

  @Test func aStartupProbeHoldsTheOthersBack() throws {
    var pod = Pod(probes: [
      .startup: try probe(#"{"httpGet": {"port": 8080}, "periodSeconds": 1}"#),
      .liveness: try probe(#"{"httpGet": {"port": 8080}}"#),
    ])
    pod.tell(.sandboxMade)
    #expect(pod.tell(.started("app", id: "1"), at: 0) == [.probe("app", .startup)])
    #expect(pod.lifecycle.container("app")?.isStarted == false)
    #expect(pod.tell(.probed("app", id: "1", .startup, isSuccess: true), at: 100) == [.probe("app", .liveness)])
    #expect(pod.lifecycle.container("app")?.isStarted == true)
  }
}

@Suite struct ProbeTests {
  @Test func portsAreFoundByTheirNames() throws {
    let spec = try probe(#"{"httpGet": {"port": "http", "path": "/healthz", "scheme": "HTTPS"}, "timeoutSeconds": 2}"#)
    #expect(
      spec.check
        == .http(ProbeSpec.HTTPCheck(host: "", port: 8080, path: "/healthz", isTLS: true, headers: [])))
    #expect(spec.timeout == 2000 && spec.period == 10_000 && spec.failureThreshold == 3)
    #expect(try probe(#"{"grpc": {"port": 1}}"#).check == .unknown)
  }

  @Test(arguments: [
    ("HTTP/1.1 200 OK", true), ("HTTP/1.0 399 x", true), ("HTTP/1.1 400 Bad", false), ("HTTP/1.1 199 x", false),
    ("", false), ("SSH-2.0 200", false), ("HTTP/1.1", false),
  ])
  func anAnswerCountsByItsStatus(_ answer: String, isSuccess: Bool) {
    #expect(Prober.isSuccess(answer) == isSuccess)
  }
}
