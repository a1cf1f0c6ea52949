import KubernetesAPI

/// The kinds that users write: weft.dev's of this version, and the Gateway API's.
enum DefinitionChecks {
  private static let gateway = "gateway.networking.k8s.io"
  private static let gatewayInstall =
    "kubectl apply -f https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.2.1/standard-install.yaml"

  static func findings(_ facts: ClusterFacts) -> [Finding] {
    let check = "definitions"
    guard let installed = facts.definitions.value else { return facts.definitions.ignorance(of: check) }
    var findings: [Finding] = []
    let own = ((try? Rendering().manifests()) ?? []).filter { $0.identity.kind == .customResourceDefinition }
    for manifest in own {
      let name = manifest.identity.name
      let wanted = served(manifest.content)
      let broken = judge(name, wanted, installed, severity: .error, repair: "weft upgrade")
      findings += broken.isEmpty ? judgeFields(of: manifest.content, installed) : broken
    }
    for plural in ["httproutes", "grpcroutes"] {
      findings += judge("\(plural).\(gateway)", ["v1"], installed, severity: .warning, repair: gatewayInstall)
    }
    return findings.isEmpty ? [.ok(check, "\(own.count) of weft.dev, and the Gateway API's")] : findings
  }

  private static func judge(
    _ name: String, _ wanted: [String], _ installed: [JSONNode], severity: Finding.Severity, repair: String
  ) -> [Finding] {
    func finding(_ reason: String) -> [Finding] {
      [
        Finding(
          severity: severity, check: "definitions", place: "CustomResourceDefinition \(name)", reason: reason,
          repair: repair)
      ]
    }
    guard let definition = installed.first(where: { $0.name == name }) else {
      return finding("isn't installed, so objects of it can't be made")
    }
    let missing = Set(wanted).subtracting(served(definition)).sorted()
    guard missing.isEmpty else { return finding("doesn't serve \(missing.joined(separator: ", "))") }
    let established = definition["status"]?["conditions"]?.elements.first { $0["type"]?.text == "Established" }
    if let established, established["status"]?.text != "True" {
      return finding("isn't established: \(established["message"]?.text ?? "no reason is told")")
    }
    return []
  }

  /// A definition of an older version: the API server drops what it doesn't know, without a word to most clients.
  private static func judgeFields(of own: JSONNode, _ installed: [JSONNode]) -> [Finding] {
    guard let definition = installed.first(where: { $0.name == own.name }) else { return [] }
    let missing = served(own).flatMap { version in
      schema(definition, version).map { unknown(to: $0, of: schema(own, version), at: "") } ?? []
    }
    guard !missing.isEmpty else { return [] }
    let more = missing.count > 5 ? " and \(missing.count - 5) more" : ""
    return [
      Finding(
        severity: .error, check: "definitions", place: "CustomResourceDefinition \(own.name)",
        reason: "is of an older version: the API server drops \(missing.prefix(5).joined(separator: ", "))\(more)",
        repair: "weft upgrade")
    ]
  }

  private static func schema(_ definition: JSONNode, _ version: String) -> JSONNode? {
    let found = definition["spec"]?["versions"]?.elements.first { $0["name"]?.text == version }
    return found?["schema"]?["openAPIV3Schema"]
  }

  /// The fields of a schema that an installed one doesn't know; of a missing object only its own name.
  private static func unknown(to installed: JSONNode, of own: JSONNode?, at path: String) -> [String] {
    guard installed["x-kubernetes-preserve-unknown-fields"] != .truth(true) else { return [] }
    var fields: [String] = []
    if case .object(let members)? = own?["properties"] {
      for member in members {
        let inner = path.isEmpty ? member.key : "\(path).\(member.key)"
        guard let known = installed["properties"]?[member.key] else {
          fields.append(inner)
          continue
        }
        fields += unknown(to: known, of: member.value, at: inner)
      }
    }
    if let items = own?["items"] {
      fields += installed["items"].map { unknown(to: $0, of: items, at: path) } ?? [path]
    }
    return fields
  }

  private static func served(_ definition: JSONNode) -> [String] {
    (definition["spec"]?["versions"]?.elements ?? []).filter { $0["served"] == .truth(true) }
      .compactMap { $0["name"]?.text }
  }
}
