import Foundation

/// Text in columns.
public struct TextTable {
  private var rows: [[String]]

  public init(_ header: [String]) {
    rows = [header]
  }

  public mutating func add(_ row: [String]) { rows.append(row) }

  /// Without a newline at the end.
  public func rendered() -> String {
    let columns = rows.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
    return rows.map { row in
      row.enumerated().map { index, cell in
        index == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[index] - cell.count + 2)
      }.joined()
    }.joined(separator: "\n")
  }
}

extension LabState {
  /// Nodes and pods with addresses, and whether their processes run.
  public func table() -> String {
    var nodeTable = TextTable(["NODE", "ADDRESSES", "NAMESPACE", "AGENT"])
    for node in nodes {
      nodeTable.add([
        node.name, node.addresses.joined(separator: ","), node.networkNamespace, Self.describe(node.agent),
      ])
    }
    var podTable = TextTable(["POD", "NODE", "ADDRESSES", "NAMESPACE", "MESH", "CONTAINERS"])
    for pod in pods.sorted(by: { $0.id < $1.id }) {
      let containers = pod.containers.map { "\($0.name):\($0.process.isRunning ? "running" : "ended")" }
      podTable.add([
        pod.id.description, pod.node, pod.addresses.joined(separator: ","), pod.networkNamespace,
        pod.isMeshed ? "enabled" : "-", containers.isEmpty ? "-" : containers.joined(separator: ","),
      ])
    }
    let control = "lab \(name) of \(directory), control plane \(Self.describe(control))"
    return [control, nodeTable.rendered(), podTable.rendered()].joined(separator: "\n\n")
  }

  private static func describe(_ process: ProcessRecord?) -> String {
    guard let process else { return "not started" }
    return process.isRunning ? "running (pid \(process.pid))" : "ended"
  }
}
