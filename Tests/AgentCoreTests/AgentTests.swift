import CLinux
import Capture
import Discovery
import DiscoveryAPI
import Foundation
import Glibc
import MeshModel
import Testing

@testable import AgentCore

/// Capture, cgroups and the proxy's own user need root; bpf/ and weft-proxy have to be built.
@Suite(
  .serialized, .timeLimit(.minutes(2)),
  .enabled(if: AgentNode.canRun, "needs root with CAP_BPF, cgroup v2, and bpf/build/weft.bpf.o (make bpf)"))
struct AgentTests {
  @Test func withoutAControlPlaneItServesFromWhatIsOnDisk() async throws {
    try await withAgent([try Sample.workload("web"), try Sample.workload("job", meshed: false)]) { node in
      try node.announce("web")
      try node.announce("job", netns: "/proc/self/ns/net")
      #expect(await node.becomes("enrolled", "web"))
      #expect(await node.becomes("unmeshed", "job"))
      let known = try await node.agent.known()
      #expect(known.map(\.uid) == ["shop/web"] && known.allSatisfy { !$0.held })
      #expect(try await node.agent.proxyPods() == ["shop/web"])
      let ready = await node.agent.answer("/healthz/ready")
      #expect(ready.status == 200)
      let status = String(decoding: await node.agent.answer("/v1/status").body, as: UTF8.self)
      #expect(status.contains(#""restored":true"#) && status.contains(#""connected":false"#))
      #expect(status.contains(#""enrolled":1"#))
      #expect(status.contains(#""traffic":{"local_replies":0,"requests":0,"retries":0}"#))
      let dump = String(decoding: await node.agent.answer("/v1/dump").body, as: UTF8.self)
      #expect(!dump.contains("PRIVATE") && !dump.contains("private_key"))
      for (path, list) in ["routes": #""routes":[]"#, "policies": #""policies":[]"#, "endpoints": #""endpoints":[]"#] {
        let answer = await node.agent.answer("/v1/\(path)")
        #expect(answer.status == 200 && String(decoding: answer.body, as: UTF8.self).contains(list))
      }
      let unknown = await node.agent.answer("/v1/endpoints/shop/nobody")
      #expect(unknown.status == 404)
      #expect(String(decoding: unknown.body, as: UTF8.self).contains("knows no Service shop"))
      #expect(await node.agent.answer("/v1/endpoints/no/such/thing").status == 400)
      try await node.stop()
      #expect(!node.hasPins)
      #expect(node.proxyProcesses.isEmpty)
    }
  }

  @Test func aPodWithoutACertificateIsHeldAndMayVanish() async throws {
    var bare = try Weft_Mesh_V1_Workload(serializedBytes: try Sample.workload("web").value)
    // Nobody can sign for it.
    bare.serviceAccount = "other"
    let resource = try Sample.resource(bare)
    try await withAgent([resource]) { node in
      try node.announce("web")
      #expect(await node.becomes("pending", "web"))
      let held = await eventually { (try? await node.agent.known().map(\.held)) == [true] }
      #expect(held)
      node.withdraw("web")
      #expect(await node.becomes(nil, "web"))
      #expect(try await node.agent.known().isEmpty)
    }
  }

  @Test func aPodThatVanishesDuringEnrolmentLeavesNothing() async throws {
    try await withAgent([try Sample.workload("web")]) { node in
      // Once in and out, so that everything that is made once is there.
      try node.announce("web")
      #expect(await node.becomes("enrolled", "web"))
      node.withdraw("web")
      #expect(await node.becomes(nil, "web"))
      let before = AgentNode.descriptorCount()
      let maps = try await node.agent.mapEntries()
      // Taken away at every moment of the way in.
      for step in 0..<60 {
        try node.announce("web")
        _ = await eventually { await node.state("web") != nil }
        try await Task.sleep(for: .microseconds(Int64(step * 150)))
        node.withdraw("web")
        #expect(await node.becomes(nil, "web"))
      }
      let isEmpty = await eventually { (try? await node.agent.proxyPods()) == [] }
      #expect(isEmpty)
      #expect(try await node.agent.known().isEmpty)
      #expect(try await node.agent.mapEntries() == maps)
      let isSame = await eventually { AgentNode.descriptorCount() <= before }
      #expect(isSame, "\(AgentNode.descriptorCount()) descriptors, \(before) before")
    }
  }

  @Test func aNamespaceThatIsGoneIsAReasonAndTriedAgain() async throws {
    try await withAgent([try Sample.workload("web")]) { node in
      let path = node.folder.path + "/netns"
      try node.announce("web", netns: path)
      #expect(await node.becomes("failed", "web"))
      let reason = await node.agent.pods["shop/web"]?.lifecycle.reason ?? ""
      #expect(reason.contains(path) && reason.contains("No such file"), "\(reason)")
      #expect(try await node.agent.check("pods")?.ok == false)
      // It comes after all.
      symlink("/proc/\(getpid())/fd/\(node.namespace.descriptor)", path)
      #expect(await node.becomes("enrolled", "web"))
      #expect(try await node.agent.check("pods")?.ok == true)
    }
  }

  /// What stands in the way of its attachment keeps nothing else from being refused, and is tried again.
  @Test(arguments: [true, false]) func aHoldThatFailsHoldsWhatItCan(hasIdentity: Bool) async throws {
    var workload = try Weft_Mesh_V1_Workload(serializedBytes: try Sample.workload("web").value)
    if !hasIdentity { workload.serviceAccount = "other" }
    try await withAgent([try Sample.resource(workload)]) { node in
      #expect(mkdir(node.podPin, 0o700) == 0, "\(node.podPin): \(errno)")
      try node.announce("web")
      #expect(await node.becomes("failed", "web"))
      #expect(try await node.agent.known().map(\.held) == [true])
      let check = try await node.agent.check("pods")
      #expect(check?.ok == false && check?.detail.contains("can't be held") == true, "\(String(describing: check))")
      rmdir(node.podPin)
      #expect(await node.becomes(hasIdentity ? "enrolled" : "pending", "web"))
      #expect(try await node.agent.known().map(\.held) == [!hasIdentity])
      #expect(access(node.podPin, F_OK) == 0)
    }
  }

  @Test func aPodFileThatWasRepairedIsRedNoMore() async throws {
    try await withAgent([try Sample.workload("web")]) { node in
      try node.folder.write("{", to: "pods/web.json")
      let isRed = try await eventually { try await node.agent.check("pod files")?.ok == false }
      #expect(isRed)
      #expect(try await node.agent.check("pods")?.ok == true)
      try node.announce("web")
      #expect(await node.becomes("enrolled", "web"))
      let isGone = try await eventually { try await node.agent.check("pod files") == nil }
      #expect(isGone)
    }
  }

  /// Its connections are its own; those of a pod that is gone end.
  @Test func aLabelRemovedWhileNoAgentRanLeavesTheConnections() async throws {
    try await withAgent([try Sample.workload("web", meshed: false)]) { node in
      let isConnected = await eventually { await node.agent.link != nil }
      #expect(isConnected)
      try node.announce("web")
      #expect(await node.becomes("unmeshed", "web"))
      let (ours, theirs) = try socketPair()
      let link = ProxyLink(fd: ours)
      await node.agent.talk(to: link)
      for uid in ["shop/web", "shop/gone"] {
        // Both still listen in the namespace; only one of the pods is there.
        let listeners = try await node.agent.namespaces.run(in: node.namespace) { try PodSockets.openListeners() }
        await node.agent.drop(adopted: listeners, of: uid)
      }
      let removed = try await onThread { () -> [String: Bool] in
        var (input, removed): ([UInt8], [String: Bool]) = ([], [:])
        while removed.count < 2 {
          var poller = pollfd(fd: theirs, events: Int16(POLLIN), revents: 0)
          guard poll(&poller, 1, 5000) == 1 else { break }
          var bytes = [UInt8](repeating: 0, count: 4096)
          let length = read(theirs, &bytes, bytes.count)
          guard length > 0 else { break }
          input += bytes[..<length]
          while input.count >= 4, input.count >= 4 + Int(input[3]) {
            let message = try Weft_Proxy_V1_ToProxy(serializedBytes: Array(input[4..<4 + Int(input[3])]))
            if case .removePod(let pod) = message.body { removed[pod.uid] = pod.runsOn }
            input.removeFirst(4 + Int(input[3]))
          }
        }
        return removed
      }
      #expect(removed == ["shop/web": true, "shop/gone": false])
      link.close()
      close(theirs)
    }
  }

  @Test func aLabelRemovedReleasesAndAChangeIsEnteredAnew() async throws {
    try await withAgent([try Sample.workload("web")]) { node in
      try node.announce("web")
      #expect(await node.becomes("enrolled", "web"))
      #expect(await node.agent.received(Sample.update([try Sample.workload("web", probePorts: [8080])])).isEmpty)
      #expect(try await node.agent.known().first?.probePorts == [8080])
      #expect(await node.state("web") == "enrolled")
      #expect(await node.agent.received(Sample.update([try Sample.workload("web", meshed: false)])).isEmpty)
      #expect(await node.state("web") == "unmeshed")
      #expect(try await node.agent.known().isEmpty)
      let isGone = await eventually { (try? await node.agent.proxyPods()) == [] }
      #expect(isGone)
      #expect(await node.agent.received(Sample.update([try Sample.workload("web")])).isEmpty)
      #expect(await node.becomes("enrolled", "web"))
    }
  }

  @Test func aCrashedProxyIsReplacedOnTheSameListeners() async throws {
    try await withAgent([try Sample.workload("web")]) { node in
      try node.announce("web")
      #expect(await node.becomes("enrolled", "web"))
      let listeners = await node.agent.pods["shop/web"]?.listeners.map { identity(of: $0) }
      let first = await node.agent.supervisor.pid
      kill(first, SIGKILL)
      let isServed = await eventually {
        let pid = await node.agent.supervisor.pid
        return pid != first && pid > 0 ? (try? await node.agent.proxyPods()) == ["shop/web"] : false
      }
      #expect(isServed)
      #expect(await node.state("web") == "enrolled")
      #expect(await node.agent.pods["shop/web"]?.listeners.map { identity(of: $0) } == listeners)
      #expect(try await node.agent.known().allSatisfy { !$0.held })
    }
  }

  @Test func theNextAgentTakesTheLivingProxyOver() async throws {
    try await withAgent([try Sample.workload("web"), try Sample.workload("api")], keepsOnExit: true) { node in
      try node.announce("web")
      #expect(await node.becomes("enrolled", "web"))
      let proxy = await node.agent.supervisor.pid
      let listeners = await node.agent.pods["shop/web"]?.listeners.map { identity(of: $0) }
      try await node.stop()
      #expect(node.hasPins && node.proxyProcesses == "\(proxy)\n")
      try node.startAgain()
      #expect(await node.becomes("enrolled", "web"))
      #expect(await node.agent.supervisor.pid == proxy)
      #expect(await node.agent.pods["shop/web"]?.listeners.map { identity(of: $0) } == listeners)
      #expect(try await node.agent.known().map(\.held) == [false])
      // While no agent is there one pod goes and another comes.
      try await node.stop()
      node.withdraw("web")
      let other = try NetworkNamespace()
      try node.announce("api", netns: "/proc/\(getpid())/fd/\(other.descriptor)")
      try node.startAgain()
      #expect(await node.becomes("enrolled", "api"))
      let isReconciled = await eventually { (try? await node.agent.proxyPods()) == ["shop/api"] }
      #expect(isReconciled)
      #expect(try await node.agent.known().map(\.uid) == ["shop/api"])
      #expect(await node.agent.supervisor.pid == proxy)
      withExtendedLifetime(other) {}
    }
  }

  @Test func anAgentWithAnOlderMeshTakesNothingFromALivingProxy() async throws {
    let (web, api) = (try Sample.workload("web"), try Sample.workload("api"))
    try await withAgent([web, api], keepsOnExit: true) { node in
      func workloads() async -> Int? { await node.agent.proxyWorkloads() }
      try node.announce("web")
      #expect(await node.becomes("enrolled", "web"))
      #expect(await workloads() == 2)
      try await node.stop()
      // As if it had been killed before it could save that there is an api.
      let store = try SnapshotStore(path: node.folder.path + "/state/snapshot/mesh.bin")
      var older = DiscoveryState()
      older.apply(Sample.update([web]))
      try store.save(older)
      store.markStale()
      try node.startAgain()
      #expect(await node.becomes("enrolled", "web"))
      try await Task.sleep(for: .seconds(2.5))
      #expect(await workloads() == 2, "what isn't known here isn't gone")
      for typeURL in MeshState.typeURLs where typeURL != Weft_Mesh_V1_Workload.typeURL {
        _ = await node.agent.received(DiscoveryUpdate(typeURL: typeURL, resources: [], removed: []))
      }
      #expect(await node.agent.received(Sample.update([try Sample.workload("new")])).isEmpty)
      #expect(await workloads() == 3)
      let isSettled = await eventually { await workloads() == 2 }
      #expect(isSettled, "the control plane knows no api")
      let isSaved = await eventually { !store.isStale }
      #expect(isSaved)
    }
  }

  @Test func anAgentThatKnowsNoMeshTakesNothingFromALivingProxy() async throws {
    let (web, api) = (try Sample.workload("web"), try Sample.workload("api"))
    try await withAgent([web, api], keepsOnExit: true) { node in
      func workloads() async -> Int? { await node.agent.proxyWorkloads() }
      try node.announce("web")
      #expect(await node.becomes("enrolled", "web"))
      #expect(await workloads() == 2)
      try await node.stop()
      try node.folder.write("garbage", to: "state/snapshot/mesh.bin")
      try node.startAgain()
      let isConnected = await eventually { await node.agent.link != nil }
      #expect(isConnected)
      #expect(await workloads() == 2)
      #expect(try await node.agent.known().map(\.held) == [false])
      // The control plane tells a part of it: who knows what follows.
      #expect(await node.agent.received(Sample.update([web])).isEmpty)
      #expect(await workloads() == 2)
      #expect(await node.becomes("enrolled", "web"))
      // All types have been told, and nothing more follows: what is gone is gone.
      for typeURL in MeshState.typeURLs where typeURL != Weft_Mesh_V1_Workload.typeURL {
        _ = await node.agent.received(DiscoveryUpdate(typeURL: typeURL, resources: [], removed: []))
      }
      #expect(await workloads() == 2)
      let isSettled = await eventually { await workloads() == 1 }
      #expect(isSettled)
      #expect(await node.state("web") == "enrolled")
    }
  }

  @Test func aPodMadeAnewWhileNoAgentIsThereGetsListenersOfItsOwn() async throws {
    try await withAgent([try Sample.workload("web")], keepsOnExit: true) { node in
      try node.announce("web")
      #expect(await node.becomes("enrolled", "web"))
      let before = await node.agent.pods["shop/web"]?.listeners.map { identity(of: $0) }
      try await node.stop()
      let other = try NetworkNamespace()
      try node.announce("web", netns: "/proc/\(getpid())/fd/\(other.descriptor)")
      try node.startAgain()
      #expect(await node.becomes("enrolled", "web"))
      #expect(await node.agent.pods["shop/web"]?.listeners.map { identity(of: $0) } != before)
      #expect(try await node.agent.known().map(\.cookie) == [other.cookie])
      withExtendedLifetime(other) {}
    }
  }

  @Test func aFullDiskIsToldAndServingGoesOn() async throws {
    try await withAgent([try Sample.workload("web")]) { node in
      try node.announce("web")
      #expect(await node.becomes("enrolled", "web"))
      let place = node.folder.path + "/state/snapshot"
      #expect(mount("weft-test", place, "tmpfs", 0, "size=64k,mode=700") == 0)
      defer { umount2(place, Int32(MNT_DETACH)) }
      let filler = place + "/filler"
      _ = FileManager.default.createFile(atPath: filler, contents: Data(count: 1 << 20))
      let fd = open(filler, O_WRONLY | O_CREAT | O_APPEND, 0o600)
      let page = [UInt8](repeating: 1, count: 4096)
      while write(fd, page, page.count) > 0 {}
      close(fd)
      #expect(await node.agent.received(Sample.update([try Sample.workload("api")])).isEmpty)
      let isTold = try await eventually {
        guard let check = try await node.agent.check("saved snapshot") else { return false }
        return !check.ok && check.detail.contains("No space left")
      }
      #expect(isTold)
      #expect(await node.state("web") == "enrolled")
      #expect(await node.agent.mesh.workloads.keys.sorted() == ["shop/api", "shop/web"])
      unlink(filler)
      let isSaved = try await eventually(seconds: 20) {
        try await node.agent.check("saved snapshot") == nil && access(place + "/mesh.bin", F_OK) == 0
      }
      #expect(isSaved, "tried again by itself")
    }
  }

  @Test func whatTheProxyRefusesIsRefusedToTheControlPlane() async throws {
    try await withAgent([try Sample.workload("web")]) { node in
      let isConnected = await eventually { await node.agent.link != nil }
      #expect(isConnected)
      // Another proxy at the other end, which takes nothing.
      let (ours, theirs) = try socketPair()
      let link = ProxyLink(fd: ours)
      await node.agent.talk(to: link)
      let update = Sample.update([try Sample.workload("api")])
      let agent = node.agent
      async let refused = agent.received(update)
      let version = try await onThread { () -> UInt64 in
        // The agent asks for statistics over the same link: frames may stand before this one, or come in one piece with it.
        var input: [UInt8] = []
        while true {
          var poller = pollfd(fd: theirs, events: Int16(POLLIN), revents: 0)
          guard poll(&poller, 1, 10_000) == 1 else { return 0 }
          var bytes = [UInt8](repeating: 0, count: 4096)
          let length = read(theirs, &bytes, bytes.count)
          guard length > 0 else { return 0 }
          input += bytes[..<length]
          while input.count >= 4 {
            let end = 4 + input[..<4].reduce(0) { $0 << 8 | Int($1) }
            guard input.count >= end else { break }
            let message = try Weft_Proxy_V1_ToProxy(serializedBytes: Array(input[4..<end]))
            if case .mesh(let mesh) = message.body { return mesh.version }
            input.removeFirst(end)
          }
        }
      }
      #expect(version > 0)
      await node.agent.received(
        .with {
          $0.meshAck.version = version
          $0.meshAck.error = "too odd"
        })
      let reasons = await refused
      #expect(reasons.map(\.name) == ["shop/api"])
      #expect(reasons.first?.reason.contains("too odd") == true)
      #expect(await node.agent.mesh.workloads["shop/api"] == nil)
      #expect(try await node.agent.check("configuration")?.ok == false)
      link.close()
      close(theirs)
    }
  }

  @Test func aPodThatTheProxyCannotServeIsHeldWithTheReasonAndTriedAgain() async throws {
    try await withAgent([try Sample.workload("web")]) { node in
      try node.announce("web")
      #expect(await node.becomes("enrolled", "web"))
      // It is tried again after a moment, maybe before both are asked for.
      let isTold = try await eventually {
        await node.agent.received(
          .with {
            $0.podRefused.uid = "shop/web"
            $0.podRefused.reason = "too many open files"
          })
        let reason = await node.agent.pods["shop/web"]?.lifecycle.reason ?? ""
        return try await node.agent.check("pods")?.ok == false && reason.contains("too many open files")
      }
      #expect(isTold)
      #expect(await node.becomes("enrolled", "web"), "the next time it has room")
    }
  }

  @Test func aSecondAgentOnTheSameRunDirectoryIsRefused() async throws {
    try await withAgent([]) { node in
      #expect(throws: AgentError.self) { try node.startAgain() }
    }
  }
}
