import CLinux
import Capture
import Foundation
import Glibc

/// Takes away what an agent has left on its node: the proxy, the pins, the cgroups, the sockets and the files.
public struct NodeCleanup: Sendable {
  /// Seconds until a process that doesn't end is killed, and until a cgroup that doesn't empty is left.
  static let patience = 5.0

  public var bpffsDirectory: String
  public var runDirectory: String
  public var stateDirectory: String
  /// Inner ones first.
  public var cgroups: [String]
  public var proxyCgroup: String
  public var proxyUID: UInt32

  public init(
    bpffsDirectory: String, runDirectory: String, stateDirectory: String, cgroups: [String], proxyCgroup: String,
    proxyUID: UInt32
  ) {
    self.bpffsDirectory = bpffsDirectory
    self.runDirectory = runDirectory
    self.stateDirectory = stateDirectory
    self.cgroups = cgroups
    self.proxyCgroup = proxyCgroup
    self.proxyUID = proxyUID
  }

  /// Capture goes first, so that no connection is led to a proxy that ends. What isn't there is fine.
  /// - Returns: what could not be taken away; empty where nothing is left.
  public func run() throws -> [String] {
    let hasRun = access(runDirectory, F_OK) == 0
    // An agent that runs would make everything anew.
    let lock = hasRun ? try RunLock(directory: runDirectory) : nil
    defer { lock?.release() }
    CaptureEngine.detach(bpffsDirectory: bpffsDirectory)
    endProxies()
    var left: [String] = []
    for path in cgroups where access(path, F_OK) == 0 && !removeCgroup(path) {
      left.append("the cgroup \(path): \(String(cString: strerror(errno)))")
    }
    for directory in [runDirectory, stateDirectory] where access(directory, F_OK) == 0 {
      left += Self.empty(directory)
    }
    if access(bpffsDirectory, F_OK) == 0 { left.append("pins in \(bpffsDirectory)") }
    return left
  }

  /// Those of the proxy's user in its cgroup: each is held by a handle before it is looked at.
  private func endProxies() {
    let deadline = Date.now.addingTimeInterval(Self.patience)
    repeat {
      ProxyProcess.killAll(in: proxyCgroup, uid: proxyUID)
      let list = (try? String(contentsOfFile: proxyCgroup + "/cgroup.procs", encoding: .utf8)) ?? ""
      if list.isEmpty { return }
      usleep(20_000)
    } while Date.now < deadline
  }

  private func removeCgroup(_ path: String) -> Bool {
    let deadline = Date.now.addingTimeInterval(Self.patience)
    // A process that has just ended keeps its cgroup for a moment.
    while rmdir(path) != 0 {
      guard errno == EBUSY, Date.now < deadline else { return false }
      usleep(20_000)
    }
    return true
  }

  /// A folder that is mounted into a container can be emptied, not removed.
  private static func empty(_ directory: String) -> [String] {
    var left: [String] = []
    for name in (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [] {
      do {
        try FileManager.default.removeItem(atPath: "\(directory)/\(name)")
      } catch {
        left.append("\(directory)/\(name): \(error.localizedDescription)")
      }
    }
    rmdir(directory)
    return left
  }
}
