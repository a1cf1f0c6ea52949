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
      findings += judge(name, wanted, installed, severity: .error, repair: "weft upgrade")
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

  private static func served(_ definition: JSONNode) -> [String] {
    (definition["spec"]?["versions"]?.elements ?? []).filter { $0["served"] == .truth(true) }
      .compactMap { $0["name"]?.text }
  }
}
