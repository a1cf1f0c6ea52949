import ArgumentParser
import Lab

struct Down: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Removes a lab: every process, namespace, cgroup, BPF pin and file of it, also after a crash.")

  @OptionGroup var lab: LabOption

  func run() throws {
    let name = try lab.labName()
    print(try Lab.down(name) ? "lab \(name) is removed" : "there is no lab \(name)")
  }
}
