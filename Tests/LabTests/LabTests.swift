import Foundation
import Testing

@testable import Lab

@Suite(
  "Labs on this machine", .serialized,
  .enabled(if: Program.canMakeLabs, "needs root, cgroup v2 and the built weft-lab beside the tests"))
struct LabTests {
  /// A pod with both echo ports on each node, and a client beside the first.
  static let sample =
    Sample.nodes + Sample.pod("near", on: "east", Sample.echo("near", port: 9000))
    + Sample.pod("far", on: "west", Sample.echo("far", port: 9000)) + Sample.pod("client", on: "east", Sample.sleeping)

  @Test("Pods reach pods on the same and the other node, in both families; then nothing is left")
  func traffic() throws {
    let lab = try LabGuard("a")
    let folder = try Folder(["all.yaml": Self.sample])
    #expect(!lab.hasTraces)
    let up = try Program.run("up", folder.path, "--no-mesh", "--name", lab.name)
    #expect(up.status == .code(0), "\(up.errors)")
    #expect(up.output.contains("default/near") && up.output.contains("10.244.1.2"))
    let state = try Lab.state(try #require(LabName(lab.name)))
    let client = try state.pod("client", namespace: nil)
    for name in ["near", "far"] {
      let target = try state.pod(name, namespace: "default")
      for (index, address) in target.addresses.enumerated() {
        let host = address.contains(":") ? "[\(address)]" : address
        let answer = try Program.run(
          "exec", "--name", lab.name, "client", "--", "curl", "-sS", "-m", "5", "http://\(host):9000/")
        #expect(answer.status == .code(0), "\(answer.errors)")
        let from = client.addresses[index].contains(":") ? "[\(client.addresses[index])]" : client.addresses[index]
        #expect(answer.output.contains("\"peer\":\"\(from):"), "\(answer.output)")
        #expect(answer.output.contains("\"local\":\"\(host):9000\",\"name\":\"\(name)\""), "\(answer.output)")
      }
    }
    // The pods are in the lab's cgroups and namespaces, and both end with it.
    let processes = Cgroup.allProcesses(lab.layout.cgroup)
    #expect(processes.count == 3)
    let records = processes.compactMap { ProcessRecord(pid: $0) }
    let down = try Program.run("down", "--name", lab.name)
    #expect(down.status == .code(0), "\(down.errors)")
    #expect(!lab.hasTraces)
    #expect(records.allSatisfy { !$0.isRunning })
    #expect(try Program.run("down", "--name", lab.name).output.contains("no lab"))
  }

  @Test("Two labs side by side with the same addresses")
  func twoLabs() throws {
    let first = try LabGuard("b")
    let second = try LabGuard("c")
    let folder = try Folder(["all.yaml": Self.sample])
    let other = try Folder(["all.yaml": Self.sample.replacingOccurrences(of: "--name, near", with: "--name, second")])
    for (lab, folder) in [(first, folder), (second, other)] {
      let up = try Program.run("up", folder.path, "--no-mesh", "--name", lab.name)
      #expect(up.status == .code(0), "\(up.errors)")
    }
    func ask(_ lab: LabGuard) throws -> String {
      try Program.run("exec", "--name", lab.name, "client", "--", "curl", "-sS", "-m", "5", "10.244.0.3:9000/").output
    }
    #expect(try ask(first).contains("\"name\":\"near\""))
    #expect(try ask(second).contains("\"name\":\"second\""))
    let list = try Program.run("list")
    #expect(list.output.contains(first.name) && list.output.contains(second.name))
    let again = try Program.run("up", folder.path, "--no-mesh", "--name", first.name)
    #expect(again.status != .code(0) && again.errors.contains("is up already"))
    _ = try Program.run("down", "--name", first.name)
    #expect(!first.hasTraces && second.hasTraces)
    #expect(try ask(second).contains("\"name\":\"second\""))
  }

  @Test("exec gives back output, input, status and signals, and the pod's view of the machine")
  func exec() throws {
    let lab = try LabGuard("d")
    let folder = try Folder(["all.yaml": Self.sample])
    let up = try Program.run("up", folder.path, "--no-mesh", "--name", lab.name)
    #expect(up.status == .code(0), "\(up.errors)")
    func exec(_ command: String..., input: String? = nil, pod: String = "client") throws -> Program.Result {
      try Program.finish(Program.start(["exec", "--name", lab.name, pod, "--"] + command, input: input))
    }
    #expect(try exec("cat", input: "through\n").output == "through\n")
    #expect(try exec("sh", "-c", "echo out; echo err >&2; exit 42").status == .code(42))
    #expect(try exec("sh", "-c", "echo err >&2").errors == "err\n")
    #expect(try exec("sh", "-c", "kill -TERM $$").status == .signal(SIGTERM))
    #expect(try exec("sh", "-c", "sh -c 'kill -9 $$'; exit $?").status == .code(137))
    #expect(try exec("no-such-command").status == .code(127))
    #expect(try exec("true", pod: "nobody").status == .code(125))
    #expect(try Program.run("exec", "--name", lab.name, "client").status == .code(64))
    #expect(try exec("hostname").output == "client\n")
    #expect(try exec("cat", "/proc/self/cgroup").output.contains("/weft-lab/\(lab.name)/east/pods/default_client\n"))
    let resolv = try exec("cat", "/etc/resolv.conf").output
    #expect(resolv.hasPrefix("nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local"))
    #expect(try exec("getent", "ahostsv4", "client").output.contains("10.244.0.2"))
    #expect(try exec("sh", "-c", "cat /proc/sys/net/core/somaxconn").output == "4096\n")
    let pod = try Lab.state(try #require(LabName(lab.name))).pod("client", namespace: nil)
    let descriptors = Files.names(in: "/proc/\(try #require(pod.containers.first).process.pid)/fd")
    #expect(descriptors == ["0", "1", "2"], "a container gets no descriptor of the lab's")
    // Nothing leads out: no interface but the pod's own, and the machine's addresses are not reached.
    #expect(try exec("sh", "-c", "ls /sys/class/net >/dev/null; ip -o link | wc -l").output == "2\n")
    // A signal to the program reaches the command: it is the command by now.
    let sleeping = try Program.start(["exec", "--name", lab.name, "client", "--", "sleep", "100"])
    let isThere = Waiting.poll(seconds: 30, uninterrupted: true) {
      Files.text("/proc/\(sleeping.processIdentifier)/comm") == "sleep\n"
    }
    #expect(isThere)
    kill(sleeping.processIdentifier, SIGINT)
    #expect(try Program.finish(sleeping).status == .signal(SIGINT))
  }

  @Test("What a killed `up` left is removed by `down`, also with half a record")
  func downAfterCrash() throws {
    let lab = try LabGuard("e")
    try crash(lab)
    let record = try #require(Files.text(lab.layout.stateFile))
    try record.prefix(record.count / 2).write(toFile: lab.layout.stateFile, atomically: false, encoding: .utf8)
    #expect(try Program.run("list").output.contains("broken"))
    let processes = Cgroup.allProcesses(lab.layout.cgroup).compactMap { ProcessRecord(pid: $0) }
    #expect(!processes.isEmpty)
    #expect(try Program.run("exec", "--name", lab.name, "client", "--", "true").status == .code(125))
    let down = try Program.run("down", "--name", lab.name)
    #expect(down.status == .code(0), "\(down.errors)")
    #expect(!lab.hasTraces && processes.allSatisfy { !$0.isRunning })
  }

  @Test("What a killed `up` left is removed by the next `up`")
  func upAfterCrash() throws {
    let lab = try LabGuard("f")
    try crash(lab)
    let processes = Cgroup.allProcesses(lab.layout.cgroup).compactMap { ProcessRecord(pid: $0) }
    let folder = try Folder(["all.yaml": Sample.nodes + Sample.pod("client", on: "east", Sample.sleeping)])
    let up = try Program.run("up", folder.path, "--no-mesh", "--name", lab.name)
    #expect(up.status == .code(0), "\(up.errors)")
    #expect(processes.allSatisfy { !$0.isRunning })
    #expect(NetworkNamespace.all().filter { lab.layout.owns(namespace: $0) }.count == 4)
    _ = try Program.run("down", "--name", lab.name)
    #expect(!lab.hasTraces)
  }

  @Test("Ctrl-C during `up` removes what was made")
  func interrupted() throws {
    let lab = try LabGuard("g")
    let process = try startStuck(lab)
    process.terminate()
    let result = try Program.finish(process)
    #expect(result.status == .code(1) && result.errors.contains("interrupted"), "\(result)")
    #expect(!lab.hasTraces)
  }

  @Test("A container that fails is told of with its log, and nothing stays")
  func failure() throws {
    let lab = try LabGuard("h")
    let folder = try Folder([
      "all.yaml": Sample.nodes
        + Sample.pod(
          "bad", on: "east",
          "command: [sh, -c, \"echo the reason; exit 3\"]\n    ports: [{containerPort: 80}]")
    ])
    let up = try Program.run("up", folder.path, "--no-mesh", "--name", lab.name)
    #expect(up.status == .code(1))
    #expect(up.errors.contains("pod default/bad: container main ended with status 3"), "\(up.errors)")
    #expect(up.errors.contains("the reason"), "\(up.errors)")
    #expect(!lab.hasTraces)
  }

  @Test("Bad YAML: a message with file and line, and nothing made")
  func badInput() throws {
    let lab = try LabGuard("i")
    let folder = try Folder(["all.yaml": Self.sample.replacingOccurrences(of: "nodeName: west", with: "nodeNam: west")])
    let up = try Program.run("up", folder.path, "--no-mesh", "--name", lab.name)
    #expect(up.status == .code(1))
    #expect(up.errors.contains("all.yaml:") && up.errors.contains("spec.nodeNam: unknown field"), "\(up.errors)")
    #expect(!lab.hasTraces)
  }

  @Test("The capture sees what crosses the link in plaintext, and writes pcap files")
  func capture() throws {
    try #require(Commands.find("tcpdump", searchPath: Commands.searchPath, directory: "/") != nil, "needs tcpdump")
    let lab = try LabGuard("j")
    let folder = try Folder(["all.yaml": Self.sample])
    let up = try Program.run("up", folder.path, "--no-mesh", "--name", lab.name)
    #expect(up.status == .code(0), "\(up.errors)")
    let file = "\(folder.path)/link.pcap"
    let text = try Program.start(
      ["capture", "--name", lab.name, "--between", "east", "west", "--", "-A", "tcp", "port", "9000"])
    let pcap = try Program.start(
      ["capture", "--name", lab.name, "--between", "west", "east", "--seconds", "60", "--write", file])
    // Each is a tcpdump in the lab's cgroup; once its packet socket is there it sees everything.
    let areListening = Waiting.poll(seconds: 60, uninterrupted: true) {
      Cgroup.processes(lab.layout.linkCgroup).filter { pid in
        (Files.text("/proc/\(pid)/net/packet") ?? "").split(separator: "\n").count >= 3
      }.count == 2
    }
    #expect(areListening)
    let answer = try Program.run(
      "exec", "--name", lab.name, "client", "--", "sh", "-c", "echo visible-secret | nc -N -w 5 10.244.1.2 9000")
    #expect(answer.output.hasSuffix("visible-secret\n"), "\(answer)")
    let hasArrived = Waiting.poll(seconds: 30, uninterrupted: true) {
      FileManager.default.contents(atPath: file)?.firstRange(of: Data("visible-secret".utf8)) != nil
    }
    #expect(hasArrived)
    // The other one may be behind.
    usleep(500_000)
    text.interrupt()
    pcap.interrupt()
    let printed = try Program.finish(text)
    #expect(printed.status == .code(0) && printed.output.contains("visible-secret"), "\(printed)")
    #expect(try Program.finish(pcap).status == .code(0))
  }

  @Test("Pods and nodes come and go in a running lab; a failed change leaves what was")
  func changes() throws {
    let lab = try LabGuard("k")
    let folder = try Folder(["all.yaml": Self.sample])
    let up = try Program.run("up", folder.path, "--no-mesh", "--name", lab.name)
    #expect(up.status == .code(0), "\(up.errors)")
    let more = try Folder([
      "more.yaml": "apiVersion: v1\nkind: Node\nmetadata: {name: north}\n"
        + Sample.pod("new", on: "north", Sample.echo("new", port: 9001))
        + "---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n"
    ])
    func apply() throws -> Program.Result { try Program.run("apply", "--name", lab.name, "\(more.path)/more.yaml") }
    let first = try apply()
    #expect(first.output == "Node north created\nPod default/new created\nService default/s created\n", "\(first)")
    let address = Files.text("\(lab.layout.config)/service_default_s.yaml")
    #expect(address?.contains("clusterIP: \"10.96.1.0\"") == true)
    #expect(try apply().output.contains("Pod default/new unchanged\nService default/s unchanged"))
    func ask(_ port: Int) throws -> String {
      try Program.run("exec", "--name", lab.name, "client", "--", "curl", "-s", "-m", "5", "10.244.2.2:\(port)/").output
    }
    #expect(try ask(9001).contains("\"name\":\"new\""))
    let pod = try #require(Files.text("\(more.path)/more.yaml"))
    try more.write("more.yaml", pod.replacingOccurrences(of: "9001", with: "9002"))
    #expect(try apply().output.contains("Pod default/new replaced"))
    #expect(try ask(9002).contains("\"name\":\"new\""))
    // The container ends before it listens: the new pod goes, the others stay.
    try more.write("more.yaml", Sample.pod("bad", on: "east", "command: [\"false\"]\n    ports: [{containerPort: 1}]"))
    let bad = try apply()
    #expect(bad.status == .code(1) && bad.errors.contains("pod default/bad"), "\(bad)")
    let state = try Lab.state(try #require(LabName(lab.name)))
    #expect(state.pods.map(\.id.name).sorted() == ["client", "far", "near", "new"])
    #expect(!Files.exists("\(lab.layout.config)/pod_default_bad.yaml"))
    #expect(try Program.run("delete", "--name", lab.name, "node/north").errors.contains("still has pods"))
    for reference in ["pod/new", "node/north", "Service/s"] {
      let result = try Program.run("delete", "--name", lab.name, reference)
      #expect(result.status == .code(0) && result.output.hasSuffix(" deleted\n"), "\(result)")
    }
    #expect(NetworkNamespace.all().filter { lab.layout.owns(namespace: $0) }.count == 6)
    #expect(try Program.run("delete", "--name", lab.name, "pod/new").status == .code(1))
  }

  @Test("Without a mesh its programs can't be ended, and are said not to run")
  func noPrograms() throws {
    let lab = try LabGuard("l")
    let folder = try Folder(["all.yaml": Sample.nodes])
    #expect(try Program.run("up", folder.path, "--no-mesh", "--name", lab.name).status == .code(0))
    for arguments in [["kill", "proxy", "--node", "east"], ["stop", "agent"], ["kill", "control"]] {
      let result = try Program.finish(Program.start(arguments + ["--name", lab.name]))
      #expect(result.status == .code(1))
      #expect(result.errors.contains("doesn't run") || result.errors.contains("no proxy running"), "\(result)")
    }
    let unknown = try Program.run("kill", "agent", "--node", "north", "--name", lab.name)
    #expect(unknown.errors.contains("there is no node \"north\"; there is east, west"))
  }

  // MARK: Crashes

  /// Starts an `up` that waits for a port that nobody opens, and returns once its pods run.
  private func startStuck(_ lab: LabGuard) throws -> Process {
    let folder = try Folder([
      "all.yaml": Self.sample
        + Sample.pod("stuck", on: "west", "\(Sample.sleeping)\n    ports: [{containerPort: 1}]")
    ])
    let process = try Program.start(["up", folder.path, "--no-mesh", "--name", lab.name])
    let areRunning = Waiting.poll(seconds: 60, uninterrupted: true) {
      Cgroup.allProcesses(lab.layout.cgroup).count == 4
    }
    #expect(areRunning)
    return process
  }

  private func crash(_ lab: LabGuard) throws {
    let process = try startStuck(lab)
    kill(process.processIdentifier, SIGKILL)
    #expect(try Program.finish(process).status == .signal(SIGKILL))
    #expect(lab.hasTraces)
  }
}
