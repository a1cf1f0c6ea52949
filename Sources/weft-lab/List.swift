import ArgumentParser
import Lab

struct List: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Lists the labs, or with --name the nodes and pods of one.")

  @OptionGroup var lab: LabOption
  @Option(name: .shortAndLong, help: "table or json (json: the record of the lab that --name names).")
  var output = "table"

  func validate() throws {
    guard ["table", "json"].contains(output) else { throw ValidationError("-o takes table or json") }
  }

  func run() throws {
    if lab.name != nil || output == "json" {
      let state = try Lab.state(try lab.labName())
      print(output == "json" ? try state.json() : state.table())
      return
    }
    var table = TextTable(["LAB", "STATE", "NODES", "PODS", "MADE", "FOLDER"])
    for name in try Lab.names() {
      if let state = try? Lab.state(name) {
        table.add([
          name.description, state.isReady ? "ready" : "unfinished", "\(state.nodes.count)", "\(state.pods.count)",
          state.createdAt.formatted(.iso8601), state.directory,
        ])
      } else {
        table.add([name.description, "broken", "-", "-", "-", "remove it: weft-lab down --name \(name)"])
      }
    }
    print(table.rendered())
  }
}
