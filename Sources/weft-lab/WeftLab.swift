import ArgumentParser
import Lab

struct WeftLab: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "weft-lab",
    abstract: "Builds nodes and pods on this machine out of Kubernetes YAML: namespaces, cgroups and the mesh.",
    subcommands: [
      Up.self, Exec.self, Apply.self, Delete.self, Kill.self, Stop.self, Start.self, Logs.self, Capture.self, Down.self,
      List.self, Echo.self, API.self, Kubectl.self, KubeletCommand.self,
    ])
}

/// Which lab a command is about.
struct LabOption: ParsableArguments {
  @Option(name: .long, help: "The lab's name: 1 to 12 of a-z and 0-9 (default: $WEFT_LAB, else \"default\").")
  var name: String?

  func labName() throws -> LabName {
    let text = name ?? ProcessEnvironment.value("WEFT_LAB") ?? "default"
    guard let name = LabName(text) else {
      throw ValidationError("\"\(text)\" can't name a lab: 1 to 12 characters of a-z and 0-9")
    }
    return name
  }
}
