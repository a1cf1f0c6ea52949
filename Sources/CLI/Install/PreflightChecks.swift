import KubernetesAPI

/// Asks a cluster what `Preflight` judges.
struct PreflightChecks {
  var cluster: InstallCluster

  func run() async throws -> [CheckAnswer.Entry] {
    let version = try await cluster.version()
    var checks = [Preflight.server(version), Preflight.rights(missing: try await missingRights())]
    checks.append(Preflight.kernels(try await cluster.list("/api/v1/nodes?limit=500")))
    checks.append(Preflight.gateway(missing: try await missingGatewayKinds()))
    let namespace = Manifest.Identity(kind: .namespace, namespace: "", name: Rendering.namespace)
    let policies = try await cluster.list("/apis/policy/v1beta1/podsecuritypolicies?limit=500")
    checks.append(Preflight.podSecurity(try await cluster.object(namespace), policies: policies.count))
    checks.append(Preflight.existing(try await InstallRecord.read(cluster)?.version))
    return checks
  }

  private func missingRights() async throws -> [Preflight.Right] {
    let reviews = KubernetesResource(
      group: "authorization.k8s.io", version: "v1", plural: "selfsubjectaccessreviews")
    var missing: [Preflight.Right] = []
    for right in Preflight.rights {
      let review: JSONNode = [
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": [
          "resourceAttributes": [
            "verb": .text(right.verb), "group": .text(right.kind.group), "resource": .text(right.kind.plural),
            "namespace": .text(right.kind.isClusterScoped ? "" : Rendering.namespace),
          ]
        ],
      ]
      let answer = try await cluster.asking("its rights") { () throws(KubernetesError) in
        try await cluster.client.create(review, as: reviews)
      }
      if answer[["status", "allowed"]] != true { missing.append(right) }
    }
    return missing
  }

  private func missingGatewayKinds() async throws -> [String] {
    var missing: [String] = []
    for plural in ["grpcroutes", "httproutes", "referencegrants"] {
      var isKnown = false
      for version in ["v1", "v1beta1"] where !isKnown {
        let resource = KubernetesResource(group: "gateway.networking.k8s.io", version: version, plural: plural)
        isKnown = try await cluster.asking("its kinds") { () throws(KubernetesError) in
          try await cluster.client.knows(resource)
        }
      }
      if !isKnown { missing.append(plural) }
    }
    return missing
  }
}
