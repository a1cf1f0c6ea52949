import ArgumentParser
import Foundation
import Lab

struct Exec: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Runs a command inside a pod: its network namespace, cgroup and resolv.conf.",
    discussion: """
      Standard streams, terminal and signals are the caller's, and so is the exit status. It is 125 where the pod \
      can't be entered and 127 where there is no such command.
      """)

  @Argument(help: "The pod's name.")
  var pod: String
  @Option(name: [.customShort("n"), .long], help: "The pod's namespace (default: any that has the pod).")
  var namespace: String?
  @OptionGroup var lab: LabOption
  @Argument(parsing: .postTerminator, help: "The command and its arguments, after --.")
  var command: [String] = []

  func validate() throws {
    guard !command.isEmpty else { throw ValidationError("no command: weft-lab exec POD -- COMMAND…") }
  }

  func run() throws {
    let name = try lab.labName()
    do {
      try Lab.exec(name, pod: pod, namespace: namespace, command: command)
    } catch {
      FileHandle.standardError.write(Data("weft-lab: \(error)\n".utf8))
      throw ExitCode(error is Lab.CommandNotFound ? Lab.exitNotFound : Lab.exitNotEntered)
    }
  }
}
