import ArgumentParser

struct Workloads: AgentCommand {
  static let configuration = CommandConfiguration(
    abstract: "Lists the workloads that the node knows, its own pods first.")
  static let path = "/v1/workloads"
  @OptionGroup var options: GlobalOptions

  func isHealthy(_ answer: WorkloadsAnswer) -> Bool { !answer.workloads.contains { $0.state == "failed" } }

  func table(_ answer: WorkloadsAnswer, _ style: Style) -> String {
    var table = Table(
      ("NAMESPACE", .left), ("NAME", .left), ("NODE", .left), ("MODE", .left), ("STATE", .left), ("READY", .left),
      ("ADDRESSES", .left), ("IDENTITY", .left), ("REASON", .left))
    // Of several agents each tells of its own node.
    let sorted = answer.workloads.filter { $0.local || $0.agent == nil }.sorted {
      ($0.local ? 0 : 1, $0.namespace, $0.name) < ($1.local ? 0 : 1, $1.namespace, $1.name)
    }
    for workload in sorted {
      table.add(
        workload.namespace, workload.name, workload.node, workload.mode, workload.state, Text.yesNo(workload.ready),
        workload.addresses.joined(separator: ","), workload.identity, workload.reason)
    }
    return table.render(none: "The agent knows no workloads.")
  }
}
