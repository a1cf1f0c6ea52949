import CLibbpf
import CLinux
import Foundation
import MeshModel
import Synchronization
import Testing

@testable import Capture

extension KernelTests {
  @Suite struct Errors {
    private static func failure(_ configuration: CaptureConfiguration) -> CaptureError? {
      do throws(CaptureError) {
        _ = try CaptureEngine(configuration)
        return nil
      } catch {
        return error
      }
    }

    @Test func eachMissingThingIsNamed() async throws {
      try await withNode { node in
        var other = node.configuration
        other.bpffsDirectory += "-other"
        defer { CaptureEngine.detach(bpffsDirectory: other.bpffsDirectory) }

        var missing = other
        missing.objectPath = "/nonexistent/weft.bpf.o"
        #expect(Self.failure(missing)?.reason == .object)
        #expect(Self.failure(missing)?.description.contains("make -C bpf") == true)
        missing.objectPath = "/etc/passwd"
        #expect(Self.failure(missing)?.reason == .object)

        var elsewhere = other
        elsewhere.bpffsDirectory = "/tmp/\(node.name)"
        #expect(Self.failure(elsewhere)?.reason == .bpffs)
        #expect(Self.failure(elsewhere)?.description.contains("mount -t bpf") == true)
        #expect(!Files.exists(elsewhere.bpffsDirectory))

        var noCgroup = other
        noCgroup.cgroupRoot += "/absent"
        #expect(Self.failure(noCgroup)?.reason == .cgroup)
        var outside = other
        outside.agentCgroup = node.home
        #expect(Self.failure(outside)?.reason == .cgroup)
      }
    }

    @Test func aPinnedMapOfAnotherLayoutIsNamed() async throws {
      try await withNode { node in
        try node.engine.maps.heartbeat.set(0, weft_heartbeat(at: 1, layout: 77, pad: 0))
        #expect(Self.failure(node.configuration)?.reason == .pinnedLayout)
        try node.engine.heartbeat()

        let pin = node.configuration.bpffsDirectory + "/maps/weft_bypass"
        unlink(pin)
        let other = bpf_map_create(BPF_MAP_TYPE_HASH, "weft_bypass", 4, 4, 64, nil)
        defer { close(other) }
        #expect(bpf_obj_pin(other, pin) == 0)
        let error = try #require(Self.failure(node.configuration))
        #expect(error.reason == .pinnedLayout)
        #expect(error.description.contains(pin))
        // Nothing was taken away by the attempt.
        #expect(try node.engine.inspect().links.count == CaptureProgram.all.count(where: \.isSingle))
      }
    }

    @Test func withoutPrivilegesTheCapabilitiesAreNamed() async throws {
      try await withNode { node in
        var configuration = node.configuration
        configuration.bpffsDirectory += "-other"
        try BPFFilesystem.ensureMounted(configuration.bpffsDirectory)
        defer { CaptureEngine.detach(bpffsDirectory: configuration.bpffsDirectory) }
        let outcome = onThreadWithoutCapabilities { [configuration] in
          (
            Self.failure(configuration),
            CaptureEngine.check(
              cgroupRoot: configuration.cgroupRoot, bpffs: configuration.bpffsDirectory,
              objectPath: configuration.objectPath)
          )
        }
        let (captured, checks) = try #require(outcome)
        let error = try #require(captured)
        #expect(error.reason == .privilege)
        #expect(error.description.contains("CAP_BPF"))
        let failed = Set(checks.filter { !$0.ok }.map(\.name))
        #expect(failed.isSuperset(of: ["cap_bpf", "cap_net_admin", "sk_lookup"]))
        #expect(checks.first { $0.name == "cap_sys_admin" }?.detail.contains("no pod is entered") == true)
        #expect(checks.allSatisfy { $0.ok != !$0.repair.isEmpty })
      }
    }

    /// A thread's capabilities are its own: the others keep theirs.
    private func onThreadWithoutCapabilities<Result: Sendable>(_ body: @escaping @Sendable () -> Result) -> Result? {
      let outcome = Outcome<Result>()
      Thread {
        _ = weft_thread_drop_capabilities()
        let result = body()
        outcome.value.withLock { $0 = result }
        outcome.done.signal()
      }.start()
      outcome.done.wait()
      return outcome.value.withLock { $0 }
    }

    @Test func thisMachinePassesTheCheck() async throws {
      try await withNode { node in
        let checks = CaptureEngine.check(
          cgroupRoot: node.root, bpffs: node.configuration.bpffsDirectory, objectPath: node.configuration.objectPath)
        for check in checks { #expect(check.ok, "\(check)") }
        #expect(Set(checks.map(\.name)).count == checks.count)
        let bad = CaptureEngine.check(cgroupRoot: "/tmp", bpffs: "/tmp", objectPath: "/etc/passwd")
        #expect(bad.filter { !$0.ok }.map(\.name) == ["cgroup v2", "bpffs", "ebpf object"])
      }
    }

    @Test func badEnrolmentsChangeNothing() async throws {
      try await withNode { node in
        let listeners = try await node.listeners(in: node.a)
        func attempt(_ uid: String, _ addresses: [IPAddress], _ listener: CInt) -> CaptureError.Reason? {
          do throws(CaptureError) {
            try node.engine.enrol(
              PodEnrolment(uid: uid, namespace: node.a, addresses: addresses, inboundListener: listener))
            return nil
          } catch {
            return error.reason
          }
        }
        let good = TestNode.addressesOfA
        #expect(attempt(String(repeating: "a", count: 320), good, listeners[1]) == .argument)
        #expect(attempt("", good, listeners[1]) == .argument)
        #expect(attempt("test/a", [], listeners[1]) == .argument)
        #expect(attempt("test/a", good, -1) == .argument)
        // A datagram socket, and no socket.
        #expect(attempt("test/a", good, listeners[3]) == .argument)
        #expect(attempt("test/a", good, node.a.descriptor) == .argument)
        for map in ["weft_netns", "weft_state", "weft_pods", "weft_addresses", "weft_listeners"] {
          #expect(try node.fill(map) == 0, "\(map)")
        }
        #expect(attempt(String(repeating: "a", count: 319), good, listeners[1]) == nil)
        #expect(try node.engine.knownPods().first?.uid.utf8.count == 319)
      }
    }
  }
}

/// What a thread leaves.
private final class Outcome<Result: Sendable>: Sendable {
  let value = Mutex<Result?>(nil)
  let done = DispatchSemaphore(value: 0)
}
