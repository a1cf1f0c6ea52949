import KubernetesAPI

/// Routes and weft.dev's objects whose status says that something isn't as it is written.
enum ObjectChecks {
  static let controller = "weft.dev/mesh"

  static func findings(_ facts: ClusterFacts) -> [Finding] {
    let check = "objects"
    var findings: [Finding] = []
    var count = 0
    for (kind, fact) in facts.objects {
      // A kind that isn't installed is the definitions' matter.
      guard let objects = fact.value else {
        findings += fact.ignorance(of: "\(check): \(kind)")
        continue
      }
      for object in objects {
        let conditions = conditions(of: object)
        count += conditions.isEmpty ? 0 : 1
        let bad = conditions.filter { $0["status"]?.text == "False" }
        guard !bad.isEmpty else { continue }
        let reasons = bad.map { condition in
          let message = condition["message"]?.text ?? ""
          return "not \(condition["type"]?.text ?? ""): \(condition["reason"]?.text ?? "")"
            + (message.isEmpty ? "" : " (\(message))")
        }
        findings.append(
          Finding(
            severity: .error, check: check, place: "\(kind) \(object.namespace)/\(object.name)",
            reason: reasons.prefix(3).joined(separator: ", "),
            repair: "correct it: kubectl -n \(object.namespace) edit \(kind.lowercased()) \(object.name)"))
      }
    }
    return findings.isEmpty
      ? [.ok(check, "\(count) with a status of weft-control, all as they are written")] : findings.cut()
  }

  /// Of the object itself, and of its parents those that weft-control judges.
  private static func conditions(of object: JSONNode) -> [JSONNode] {
    let status = object["status"]
    let parents = (status?["parents"]?.elements ?? []).filter { $0["controllerName"]?.text == controller }
    return (status?["conditions"]?.elements ?? []) + parents.flatMap { $0["conditions"]?.elements ?? [] }
  }
}
