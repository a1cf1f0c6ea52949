import ArgumentParser
import Foundation
import Lab

struct KubeletCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kubelet", abstract: "The kubelet of a lab's nodes; `up --kubernetes` starts it.", shouldDisplay: false
  )

  @OptionGroup var lab: LabOption

  func run() throws {
    let name = try lab.labName()
    Task {
      do {
        try await Kubelet.run(name)
        Foundation.exit(0)
      } catch {
        FileHandle.standardError.write(Data("weft-lab: \(error)\n".utf8))
        Foundation.exit(1)
      }
    }
    dispatchMain()
  }
}

struct API: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "api", abstract: "Ends the lab's API server, or starts it again and waits until it is ready.")

  enum Verb: String, CaseIterable, ExpressibleByArgument { case start, stop, kill }

  @Argument(help: "start, stop (SIGTERM) or kill (SIGKILL).")
  var verb: Verb
  @OptionGroup var lab: LabOption

  func run() throws {
    let action: ProgramAction =
      switch verb {
      case .start: .start
      case .stop: .stop
      case .kill: .kill
      }
    print(try Lab.act(action, on: ClusterProgram.api, lab: try lab.labName(), progress: Progress(isQuiet: true)))
  }
}

struct Kubectl: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kubectl", abstract: "Runs kubectl in the lab's network as the cluster's administrator.",
    discussion: "Example: weft-lab kubectl --name demo -- get pods -A -o wide")

  @OptionGroup var lab: LabOption
  @Argument(parsing: .postTerminator, help: "kubectl's arguments, after --.")
  var arguments: [String] = []

  func run() throws { try Lab.kubectl(try lab.labName(), arguments: arguments) }
}
