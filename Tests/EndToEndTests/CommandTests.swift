import Foundation
import Testing

extension EndToEnd {
  /// The programs as a person or a script meets them, and the proxy's privileges.
  @Suite(.serialized, .lab("e2ecli"))
  struct CommandTests {
    let lab: TestLab
    init() throws { lab = try TestLab.running() }

    @Test(
      "every command of weft ends with 0 on a healthy node, as a table and as JSON",
      arguments: [
        "check", "status", "workloads", "services", "routes", "policies", "endpoints", "connections", "identity", "bpf",
        "dump",
      ])
    func healthy(command: String) throws {
      for node in ["a", "b"] {
        let table = try lab.weft(node, command)
        #expect(table.status == 0, "\(table.output)\(table.errors)")
        #expect(!table.output.isEmpty)
        let json = try lab.weft(node, command, "-o", "json")
        #expect(json.status == 0)
        #expect(!(try Facts(json: json.output, or: command)).members.isEmpty)
      }
    }

    @Test("weft check has a line for the kernel, the programs, the certificates and the control plane, all in order")
    func check() throws {
      let checks = try lab.ask("a", "check")["checks"].list
      let names = checks.compactMap { $0["name"].text }
      for part in ["kernel", "cap_bpf", "ebpf object", "certificates", "control plane", "proxy", "pods"] {
        #expect(names.contains(part), "\(names)")
      }
      for check in checks { #expect(check["ok"].bool == true, "\(check)") }
    }

    @Test("the exit status tells a wrong command, an unreachable agent, and a node that isn't well")
    func statuses() throws {
      #expect(try lab.weft("a", "nonsense").status == 2)
      #expect(try lab.weft("a", "status", "-o", "xml").status == 2)
      #expect(try lab.weft("nobody", "status").status == 3)
      #expect(try lab.weft("nobody", "check").status == 3)
      try lab.act("stop", "control")
      defer { _ = try? lab.act("start", "control") }
      wait(10, for: "the agent to notice") { try lab.ask("a", "status")["control"]["connected"].bool == false }
      let check = try lab.weft("a", "check")
      #expect(check.status == 1)
      #expect(check.output.contains("how to repair it"), "\(check.output)")
    }

    @Test("weft-lab exec gives back output and status")
    func exec() throws {
      let done = try lab.exec("client", ["sh", "-c", "echo out; echo err >&2; exit 7"])
      #expect(done.status == 7 && done.output == "out\n" && done.errors == "err\n")
      #expect(try lab.exec("client", ["no-such-program"]).status == 127)
      #expect(try lab.exec("nobody", ["true"]).status == 125)
      #expect(try lab.lab("delete", ["pod/nobody"]).status != 0)
    }

    @Test("nothing that the agent tells holds a key")
    func noKeys() throws {
      for node in ["a", "b"] { #expect(!(try lab.weft(node, "dump").output.contains("PRIVATE"))) }
    }

    @Test("the proxy has its own user, no capabilities, no way to new ones, few system calls and no core file")
    func privileges() throws {
      for node in ["a", "b"] {
        let pid = try lab.proxy(node)
        let text = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
        let status = Dictionary(
          text.split(separator: "\n").compactMap { line -> (String, String)? in
            let parts = line.split(separator: ":", maxSplits: 1)
            return parts.count == 2 ? (String(parts[0]), parts[1].trimmingCharacters(in: .whitespaces)) : nil
          }, uniquingKeysWith: { first, _ in first })
        #expect(status["Uid"] == "61337\t61337\t61337\t61337")
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] { #expect(status[set] == "0000000000000000") }
        #expect(status["NoNewPrivs"] == "1")
        #expect(status["Seccomp"] == "2")
        let limits = try String(contentsOfFile: "/proc/\(pid)/limits", encoding: .utf8)
        let core = limits.split(separator: "\n").first { $0.hasPrefix("Max core file size") }
        #expect(core?.split(separator: " ").dropFirst(4).prefix(2).elementsEqual(["0", "0"]) == true)
      }
    }

    @Test("sockets and secrets are root's alone")
    func files() throws {
      let node = "\(lab.folder)/nodes/a"
      for path in ["\(node)/run/agent.sock", "\(node)/run/proxy.sock", "\(lab.folder)/control/state/ca.key"] {
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect((attributes[.posixPermissions] as? Int) == 0o600, "\(path)")
      }
    }
  }
}
