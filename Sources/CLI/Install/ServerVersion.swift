import KubernetesAPI

/// An API server's version.
struct ServerVersion: Hashable, Sendable, Comparable, CustomStringConvertible {
  var minor: Int

  /// The oldest that Weft was tried with.
  static let oldest = ServerVersion(minor: 20)
  /// What is assumed where none is asked.
  static let current = ServerVersion(minor: 36)

  init(minor: Int) { self.minor = minor }

  /// - Parameter text: `1.31`, `v1.31.2`, `v1.31.2-eks-1234`; nil for anything else.
  init?(_ text: String) {
    let parts = text.drop { $0 == "v" }.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
    guard parts.count >= 2, parts[0] == "1", let minor = Int(parts[1].prefix { $0.isASCII && $0.isNumber }) else {
      return nil
    }
    self.minor = minor
  }

  var description: String { "1.\(minor)" }

  static func < (left: ServerVersion, right: ServerVersion) -> Bool { left.minor < right.minor }
}

extension Manifest {
  /// As a server of that version takes it: what it doesn't know is left out, or said as it knows it.
  func adapted(to server: ServerVersion) -> Manifest {
    var manifest = self
    switch identity.kind {
    // CEL rules: weft-control itself refuses what they would have, in the object's status.
    case .customResourceDefinition where server < ServerVersion(minor: 25):
      manifest.content = content.removing("x-kubernetes-validations")
    case .podDisruptionBudget:
      manifest.content.set(["apiVersion"], to: .text("policy/\(identity.kind.resource(on: server).version)"))
    case .deployment, .daemonSet:
      if server < ServerVersion(minor: 30) { manifest.useAppArmorAnnotations() }
    default: break
    }
    return manifest
  }

  /// In place of the field, which came with 1.30.
  private mutating func useAppArmorAnnotations() {
    var unconfined: [String] = []
    editContainers { container in
      guard container[["securityContext", "appArmorProfile", "type"]]?.text == "Unconfined",
        let name = container["name"]?.text
      else { return }
      unconfined.append(name)
      container.set(["securityContext", "appArmorProfile"], to: nil)
    }
    for name in unconfined {
      content.set(
        ["spec", "template", "metadata", "annotations", "container.apparmor.security.beta.kubernetes.io/\(name)"],
        to: "unconfined")
    }
  }
}
