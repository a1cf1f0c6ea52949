import CLibbpf
import Foundation
import MeshModel
import Testing

@testable import Capture

extension KernelTests {
  @Suite struct Namespaces {
    @Test func theThreadWorksInsideAndThePoolStaysOutside() async throws {
      let outside = try NetworkNamespace(path: "/proc/self/ns/net")
      let inside = try NetworkNamespace()
      #expect(outside.cookie != inside.cookie)
      let thread = try NamespaceThread()
      let seen = try await thread.run(in: inside) { try NetworkNamespace(path: "/proc/thread-self/ns/net").cookie }
      #expect(seen == inside.cookie)
      #expect(try NetworkNamespace(path: "/proc/thread-self/ns/net").cookie == outside.cookie)
      struct Odd: Error {}
      await #expect(throws: Odd.self) { try await thread.run(in: inside) { throw Odd() } }
      // Many at once, in order on one thread.
      let names = try await withThrowingTaskGroup(of: UInt64.self) { group in
        for index in 0..<200 {
          let namespace = index % 2 == 0 ? inside : outside
          group.addTask {
            try await thread.run(in: namespace) { try NetworkNamespace(path: "/proc/thread-self/ns/net").cookie }
          }
        }
        return try await group.reduce(into: [UInt64: Int]()) { $0[$1, default: 0] += 1 }
      }
      #expect(names == [inside.cookie: 100, outside.cookie: 100])
    }

    @Test func aStuckThreadRefusesMoreThanItHolds() async throws {
      let namespace = try NetworkNamespace()
      let thread = try NamespaceThread(capacity: 1)
      let gate = DispatchSemaphore(value: 0)
      let entered = DispatchSemaphore(value: 0)
      async let first: Void = thread.run(in: namespace) {
        entered.signal()
        gate.wait()
      }
      #expect(await Task.detached { entered.wait(timeout: .now() + 5) == .success }.value)
      async let second: Int = thread.run(in: namespace) { 2 }
      // The second takes the one place at some time soon; then a third finds none.
      var refused: (any Error)?
      for _ in 0..<500 where refused == nil {
        try await Task.sleep(for: .milliseconds(2))
        if thread.waiting == 1 {
          do { try await thread.run(in: namespace) {} } catch { refused = error }
        }
      }
      gate.signal()
      try await first
      #expect(try await second == 2)
      #expect((refused as? CaptureError)?.reason == .system)
    }

    @Test func whatIsNoNamespaceIsRefused() {
      for path in ["/nonexistent", "/etc/passwd", "/proc/self/ns/uts"] {
        do throws(CaptureError) {
          _ = try NetworkNamespace(path: path)
          Issue.record("\(path) opened")
        } catch {
          #expect(error.reason == .namespace)
          #expect(error.description.contains(path))
        }
      }
    }

    @Test func aPortThatTheApplicationHoldsIsNamed() async throws {
      let namespace = try NetworkNamespace()
      let thread = try NamespaceThread()
      let before = Files.list("/proc/self/fd").count
      for listener in PodListener.allCases where listener.port != 0 {
        let held = try await thread.run(in: namespace) { try PodSockets.open(listener) }
        do {
          _ = try await thread.run(in: namespace) { try PodSockets.openListeners() }
          Issue.record("\(listener) opened twice")
        } catch let error as CaptureError {
          #expect(error.reason == .portTaken)
          #expect(error.description.contains("\(listener.port)"))
        }
        close(held)
      }
      #expect(Files.list("/proc/self/fd").count == before, "what was opened before the failure is closed")
    }
  }
}

@Suite struct ValueTests {
  @Test(arguments: ["10.0.0.0/8", "fd00::/8", "0.0.0.0/0", "10.1.2.3/32", "::1/128"])
  func prefixesReadAsTheyAreWritten(_ text: String) {
    #expect(AddressPrefix(text)?.description == text)
  }

  @Test(arguments: [
    "", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "fd00::/129", "x/8", "1.2.3.4/8/8",
  ])
  func badPrefixesAreRefused(_ text: String) { #expect(AddressPrefix(text) == nil) }

  @Test func aPrefixAloneIsOneAddress() {
    #expect(AddressPrefix("10.0.0.1")?.length == 32)
    #expect(AddressPrefix("fd00::1")?.length == 128)
  }

  @Test func cgroup2IsFoundInAMountTable() throws {
    let path = "/tmp/weft-mounts-\(getpid())"
    defer { unlink(path) }
    try "proc /proc proc rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw 0 0\nnone /sys/my\\040cgroup cgroup2 rw 0 0\n"
      .write(toFile: path, atomically: true, encoding: .utf8)
    #expect(try CgroupTree.find(mounts: path).mountPoint == "/sys/my cgroup")
    do throws(CaptureError) {
      _ = try CgroupTree.find(mounts: "/dev/null")
      Issue.record("found")
    } catch {
      #expect(error.reason == .cgroup)
    }
  }

  @Test(arguments: ["10.9.0.3", "fd09::3", "::1", "127.0.0.1", "2001:db8:1:2:3:4:5:6"])
  func addressesSurviveTheKernelsLayout(_ text: String) {
    let ip = IPAddress(text)
    #expect(ip.map { weft_address($0).ip } == ip)
  }
}
