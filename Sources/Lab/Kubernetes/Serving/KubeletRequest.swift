import Foundation

/// A container as the kubelet's paths name it.
struct ContainerName: Hashable, Sendable, CustomStringConvertible {
  var pod: PodName
  var container: String

  var description: String { "\(pod), container \(container)" }
}

/// What the API server asks of a kubelet: `/exec` and `/containerLogs`. Other paths, and parameters that change the
/// answer in a way that isn't offered, are refused.
enum KubeletRequest: Equatable, Sendable {
  case exec(ContainerName, Exec)
  case logs(ContainerName, Logs)

  struct Exec: Equatable, Sendable {
    /// The program and its arguments; never empty.
    var command: [String]
    var hasInput: Bool
    var hasOutput: Bool
    var hasErrors: Bool
  }

  struct Logs: Equatable, Sendable {
    /// Until the container has ended.
    var follows = false
    /// Lines from the end; nil: all.
    var tail: Int?
    /// Bytes; nil: all.
    var limit: Int?
  }

  struct Refusal: Error, Equatable, Sendable, CustomStringConvertible {
    var status: Int
    var description: String
  }

  /// Arguments of a command, and their bytes together.
  static let maximumArguments = 256
  static let maximumCommandBytes = 64 << 10

  /// - Parameter uri: a request's path and query, as they came.
  init(uri: String) throws(Refusal) {
    guard let parts = URLComponents(string: uri), uri.utf8.count <= 2 * Self.maximumCommandBytes else {
      throw Refusal(status: 400, description: "the path isn't one of a URL, or is too long")
    }
    let path = parts.path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard path.count == 5, path[0].isEmpty, path[2...].allSatisfy({ !$0.isEmpty && $0 != ".." }) else {
      throw Refusal(status: 404, description: "not found: only /exec and /containerLogs/NAMESPACE/POD/CONTAINER are")
    }
    let name = ContainerName(pod: PodName(namespace: path[2], name: path[3]), container: path[4])
    // A plus sign is a blank in a query (HTML's form encoding), which URLComponents leaves alone.
    let items = (parts.percentEncodedQueryItems ?? []).map { item in
      (item.name, item.value.flatMap { $0.replacing("+", with: " ").removingPercentEncoding } ?? "")
    }
    switch path[1] {
    case "exec": self = .exec(name, try Self.exec(items))
    case "containerLogs": self = .logs(name, try Self.logs(items))
    default: throw Refusal(status: 404, description: "not found: only /exec and /containerLogs are served")
    }
  }

  private static func exec(_ items: [(String, String)]) throws(Refusal) -> Exec {
    // The API server's names; `stdin` and so on are those of its own clients.
    func isSet(_ names: String...) -> Bool { items.contains { names.contains($0.0) && ["1", "true"].contains($0.1) } }
    let command = items.filter { $0.0 == "command" }.map(\.1)
    guard let program = command.first, !program.isEmpty else {
      throw Refusal(status: 400, description: "no command")
    }
    guard command.count <= maximumArguments, command.reduce(0, { $0 + $1.utf8.count }) <= maximumCommandBytes,
      !command.contains(where: { $0.utf8.contains(0) })
    else {
      throw Refusal(status: 400, description: "a command has at most \(maximumArguments) arguments and 64 KiB")
    }
    guard !isSet("tty") else {
      throw Refusal(status: 400, description: "the lab's kubelet has no terminals: use -i without -t")
    }
    return Exec(
      command: command, hasInput: isSet("input", "stdin"), hasOutput: isSet("output", "stdout"),
      hasErrors: isSet("error", "stderr"))
  }

  private static func logs(_ items: [(String, String)]) throws(Refusal) -> Logs {
    var logs = Logs()
    for (name, value) in items {
      switch name {
      case "follow": logs.follows = ["1", "true"].contains(value)
      case "tailLines": logs.tail = try number(name, value)
      case "limitBytes": logs.limit = try number(name, value)
      case "timestamps", "previous", "sinceSeconds", "sinceTime":
        guard ["", "false", "0"].contains(value) else {
          throw Refusal(status: 400, description: "the lab's kubelet keeps bare lines: there is no \(name)")
        }
      default: break
      }
    }
    return logs
  }

  private static func number(_ name: String, _ value: String) throws(Refusal) -> Int {
    guard let number = Int(value), number >= 0 else {
      throw Refusal(status: 400, description: "\(name) is no count: \(value.prefix(20).debugDescription)")
    }
    return number
  }
}
