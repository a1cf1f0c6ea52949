import KubernetesAPI

/// How a cluster's Weft was installed, by its ConfigMap.
struct InstallRecord: Hashable, Sendable {
  var version: String
  var overlay: Overlay
  var values: InstallValues

  static let identity = Manifest.Identity(
    kind: .configMap, namespace: Rendering.namespace, name: Rendering.record)

  /// - Throws: `Failure` where it says what this program doesn't know.
  init(_ configMap: JSONNode) throws {
    let data = configMap["data"]
    version = data?["version"]?.text ?? ""
    let name = data?["overlay"]?.text ?? ""
    guard let overlay = Overlay(rawValue: name) else {
      throw Failure(
        message: "\(Self.identity) names the overlay \(Text.printable(name).debugDescription), which this weft doesn't "
          + "know: give --overlay, or a newer weft.", status: .unhealthy)
    }
    self.overlay = overlay
    values = try InstallValues((data?["values"]?.text ?? "").split(separator: "\n").map(String.init))
  }

  /// nil: nothing is installed.
  static func read(_ cluster: InstallCluster) async throws -> InstallRecord? {
    try await cluster.object(identity).map { try InstallRecord($0) }
  }
}
