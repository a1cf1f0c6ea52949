import DiscoveryAPI
import Foundation
import Glibc
import Testing

@testable import AgentCore

/// Starting a program under another user needs root.
@Suite(.serialized, .timeLimit(.minutes(1)), .enabled(if: isRoot, "starting a proxy under its own user needs root"))
struct ProxySupervisorTests {
  private static let uid: UInt32 = 61_337
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func supervisor(_ script: String, patience: Double = 20) throws -> ProxySupervisor {
    let program = try folder.write("#!/bin/sh\n\(script)\n", to: "proxy", mode: 0o755)
    return ProxySupervisor(
      .init(
        program: program, socketPath: folder.path + "/proxy.sock", cgroup: nil, uid: Self.uid, workers: 1,
        logLevel: "info", patience: patience),
      logger: quiet)
  }

  private func status(_ pid: Int32) -> [String: String] {
    let text = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
    return text.split(separator: "\n").reduce(into: [:]) { fields, line in
      let parts = line.split(separator: ":", maxSplits: 1)
      if parts.count == 2 { fields[String(parts[0])] = parts[1].trimmingCharacters(in: .whitespaces) }
    }
  }

  @Test func theProxyHasNothingButItsUserAndItsSocket() async throws {
    let supervisor = try supervisor("exec sleep 60")
    // Open in this process, and not for the child: without close-on-exec.
    let leak = open("/dev/null", O_RDONLY)
    defer { close(leak) }
    let run = Task { await supervisor.run() }
    #expect(await eventually { await supervisor.pid > 0 })
    let pid = await supervisor.pid
    #expect(await eventually { (try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)) == "sleep\n" })
    let fields = status(pid)
    let user = Array(repeating: "\(Self.uid)", count: 4).joined(separator: "\t")
    #expect(fields["Uid"] == user)
    #expect(fields["Gid"] == user)
    #expect(fields["Groups"] == "")
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
      #expect(fields[set] == "0000000000000000", "\(set)")
    }
    #expect(fields["NoNewPrivs"] == "1")
    #expect(fields["SigBlk"] == "0000000000000000")
    let descriptors = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").compactMap { Int($0) }
    #expect(descriptors.sorted() == [0, 1, 2, 3])
    let limits = try String(contentsOfFile: "/proc/\(pid)/limits", encoding: .utf8).split(separator: "\n")
    let core = limits.first { $0.hasPrefix("Max core file size") }?.split(separator: " ")
    #expect(core?.dropFirst(4).prefix(2) == ["0", "0"])
    let files = limits.first { $0.hasPrefix("Max open files") }?.split(separator: " ")
    #expect(files?[3] == files?[4], "raised to the hard limit")
    await supervisor.stop(drainSeconds: 0)
    await run.value
    #expect(status(pid).isEmpty, "stopped, and reaped")
    #expect(!FileManager.default.fileExists(atPath: folder.path + "/proxy.sock"))
  }

  @Test func aCrashIsFollowedAtOnceByTheNextProxy() async throws {
    let supervisor = try supervisor("exec sleep 60")
    let run = Task { await supervisor.run() }
    #expect(await eventually { await supervisor.pid > 0 })
    let first = await supervisor.pid
    let clock = ContinuousClock()
    let killed = clock.now
    kill(first, SIGKILL)
    #expect(
      await eventually {
        let pid = await supervisor.pid
        return pid > 0 && pid != first
      })
    #expect(clock.now - killed < .seconds(9))
    #expect(await supervisor.restarts == 1)
    await supervisor.stop(drainSeconds: 0)
    await run.value
  }

  @Test func aProxyThatDiesAtOnceIsStartedLessAndLessOften() async throws {
    let supervisor = try supervisor("exit 3")
    let run = Task { await supervisor.run() }
    var reasons: [String] = []
    let clock = ContinuousClock()
    let began = clock.now
    for await event in supervisor.events {
      if case .lost(let reason) = event { reasons.append(reason) }
      if reasons.count == 4 { break }
    }
    // 0, 50 and 200 ms were waited for three restarts.
    #expect(clock.now - began >= .milliseconds(250))
    #expect(reasons.allSatisfy { $0.contains("ended with status 3") }, "\(reasons)")
    await supervisor.stop(drainSeconds: 0)
    await run.value
  }

  @Test func aProgramThatIsNotThereIsASentence() async throws {
    let supervisor = ProxySupervisor(
      .init(
        program: folder.path + "/nothing", socketPath: folder.path + "/proxy.sock", cgroup: nil, uid: Self.uid,
        workers: 1, logLevel: "info"),
      logger: quiet)
    let run = Task { await supervisor.run() }
    for await event in supervisor.events {
      guard case .lost(let reason) = event else { continue }
      #expect(reason.contains(folder.path + "/nothing") && reason.contains("No such file"), "\(reason)")
      break
    }
    #expect(await supervisor.state == .stopped)
    await supervisor.stop(drainSeconds: 0)
    await run.value
  }

  @Test func aProxyThatNeverSaysHelloIsReplaced() async throws {
    let supervisor = try supervisor("exec sleep 60", patience: 0.3)
    let run = Task { await supervisor.run() }
    #expect(await eventually { await supervisor.pid > 0 })
    let first = await supervisor.pid
    for await event in supervisor.events {
      guard case .lost(let reason) = event else { continue }
      #expect(reason.contains("no hello") && reason.contains("killed by signal 9"), "\(reason)")
      break
    }
    #expect(await eventually { status(first).isEmpty })
    await supervisor.stop(drainSeconds: 0)
    await run.value
  }

  @Test func leavingKeepsTheProxy() async throws {
    let supervisor = try supervisor("exec sleep 60")
    let run = Task { await supervisor.run() }
    #expect(await eventually { await supervisor.pid > 0 })
    let pid = await supervisor.pid
    await supervisor.leave()
    await run.value
    #expect(kill(pid, 0) == 0)
    kill(pid, SIGKILL)
  }

  @Test func aLiarAtTheSocketHasNoOneKilled() async throws {
    // Someone listens at the path and says to be a process of another user: this test's own.
    let path = folder.path + "/proxy.sock"
    let listener = try ControlSocket.listen(path)
    let supervisor = try supervisor("exec sleep 60")
    let run = Task { await supervisor.run() }
    let liar = try await onThread { accept(listener, nil, nil) }
    #expect(liar >= 0)
    let payload: [UInt8] = try Weft_Proxy_V1_FromProxy.with { $0.hello.pid = UInt32(getpid()) }.serializedBytes()
    let bytes = [0, 0, 0, UInt8(payload.count)] + payload
    #expect(write(liar, bytes, bytes.count) == bytes.count)
    for await event in supervisor.events {
      guard case .lost(let reason) = event else {
        Issue.record("it was believed")
        break
      }
      #expect(reason.contains("none of user"), "\(reason)")
      break
    }
    close(liar)
    close(listener)
    await supervisor.stop(drainSeconds: 0)
    await run.value
  }
}
