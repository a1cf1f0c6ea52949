import FoundationEssentials

/// The part of the control plane's `status.json` that a person asks for: objects that are refused, and the conditions
/// of routes and policies.
struct ControlReport: Decodable, Sendable {
  struct Object: Decodable, Sendable {
    var kind: String
    var namespace: String
    var name: String
    var accepted: Bool
    var reason: String
    /// Absent for objects that refer to none.
    var parents: [Parent]?
  }

  struct Parent: Decodable, Sendable {
    var kind: String
    var namespace: String
    var name: String
    var sectionName: String?
    var port: Int?
    var conditions: [Condition]
  }

  struct Condition: Decodable, Sendable {
    var type: String
    var status: String
    var reason: String
    var message: String
  }

  var objects: [Object]

  static func read(_ path: String) throws -> ControlReport {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw Failure(message: "\(path) can't be read: weft-control keeps it in its --state-dir", status: .usage)
    }
    guard let report = try? JSONDecoder().decode(ControlReport.self, from: data) else {
      throw Failure(message: "\(path) is not the status.json of a weft-control of this version", status: .usage)
    }
    return report
  }

  var isHealthy: Bool {
    objects.allSatisfy { object in
      object.accepted && (object.parents ?? []).allSatisfy { $0.conditions.allSatisfy { $0.status == "True" } }
    }
  }

  /// A line for each refused object, and for each parent of the others.
  var lines: [String] {
    objects.flatMap { object -> [String] in
      let name = "\(object.kind) \(object.namespace.isEmpty ? "" : "\(object.namespace)/")\(object.name)"
      guard object.accepted else { return ["\(name): refused: \(object.reason)"] }
      return (object.parents ?? []).map {
        "\(name) at \($0.text): \($0.conditions.map(\.text).joined(separator: ", "))"
      }
    }
  }
}

extension ControlReport.Parent {
  fileprivate var text: String {
    let place = port.map { ":\($0)" } ?? sectionName.map { ":\($0)" } ?? ""
    return "\(kind) \(namespace)/\(name)\(place)"
  }
}

extension ControlReport.Condition {
  fileprivate var text: String {
    status == "True" ? type : "not \(type): \(reason)\(message.isEmpty ? "" : " (\(message))")"
  }
}

extension CommandResult {
  func adding(_ report: ControlReport) -> CommandResult {
    var result = self
    result.text += report.lines.map { Text.printable($0) + "\n" }.joined()
    if !report.isHealthy { result.status = .unhealthy }
    return result
  }
}
