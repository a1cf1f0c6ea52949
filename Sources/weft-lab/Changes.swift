import ArgumentParser
import Lab

struct Apply: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Creates or replaces objects in a running lab.",
    discussion: "Exit status 1 also where the control plane refuses an object.")

  @Argument(help: "YAML files, or folders of them.")
  var files: [String]
  @OptionGroup var lab: LabOption

  func run() throws {
    try report(Lab.apply(try lab.labName(), files: files, progress: Progress(isQuiet: true)))
  }
}

struct Delete: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Deletes an object from a running lab.")

  @Argument(help: "KIND/NAME, as in pod/front.")
  var object: String
  @Option(name: [.customShort("n"), .long], help: "The object's namespace (default: any that has it).")
  var namespace: String?
  @OptionGroup var lab: LabOption

  func run() throws {
    try report(
      Lab.delete(try lab.labName(), reference: object, namespace: namespace, progress: Progress(isQuiet: true)))
  }
}

private func report(_ changes: [Change]) throws {
  for change in changes { print(change) }
  if changes.contains(where: { $0.refusal != nil }) { throw ExitCode.failure }
}
