import ArgumentParser
import Foundation
import Lab

struct Logs: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Prints logs of the lab's programs and pods.",
    discussion: "The proxy logs through its agent.")

  @Argument(help: "agent, proxy, control or a pod's name (default: everything).")
  var what: String?
  @Option(help: "The node (default: all).")
  var node: String?
  @Option(name: [.customShort("n"), .long], help: "The pod's namespace.")
  var namespace: String?
  @OptionGroup var lab: LabOption

  func run() throws {
    let files = try Lab.logs(try lab.labName(), of: what, node: node, namespace: namespace)
    for (title, path) in files {
      if files.count > 1 { print("==> \(title) (\(path))") }
      guard let file = FileHandle(forReadingAtPath: path) else { continue }
      while let part = try file.read(upToCount: 65536), !part.isEmpty {
        try FileHandle.standardOutput.write(contentsOf: part)
      }
    }
  }
}
