import ArgumentParser
import Lab

extension MeshProgram: ExpressibleByArgument {}

struct ProgramArguments: ParsableArguments {
  @Argument(help: "agent, proxy or control.")
  var program: MeshProgram
  @Option(help: "The node (default: all).")
  var node: String?
  @OptionGroup var lab: LabOption

  func act(_ action: ProgramAction) throws {
    let lines = try Lab.act(action, on: program, node: node, lab: try lab.labName(), progress: Progress(isQuiet: true))
    for line in lines { print(line) }
  }
}

struct Kill: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Ends a program of the mesh by SIGKILL.")

  @OptionGroup var arguments: ProgramArguments

  func run() throws { try arguments.act(.kill) }
}

struct Stop: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Ends a program of the mesh by SIGTERM, and waits for its end.")

  @OptionGroup var arguments: ProgramArguments

  func run() throws { try arguments.act(.stop) }
}

struct Start: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Starts a program of the mesh again with the flags that it had, and waits until it is ready.",
    discussion: "The proxy is started by its agent: for it this waits only.")

  @OptionGroup var arguments: ProgramArguments

  func run() throws { try arguments.act(.start) }
}
