import Foundation
import KubernetesAPI
import Logging

/// What every part of the kubelet shares.
struct KubeletContext: Sendable {
  let layout: Layout
  let state: LabState
  let client: KubernetesClient
  let cache: ObjectCache
  let images: ImageTable
  let addresses: AddressPool
  let containers: ContainerTable
  let logger: Logger

  static var now: Int64 { Int64(Date().timeIntervalSince1970 * 1000) }

  func node(_ name: String) -> LabState.Node? { state.nodes.first { $0.name == name } }

  /// For what makes networks: of nodes only.
  func maker() throws -> LabMaker {
    LabMaker(
      layout: layout, progress: Progress(isQuiet: true), state: state,
      input: try LabInput(nodesOf: state))
  }
}

extension LabInput {
  /// Of a lab whose objects the API server keeps.
  init(nodesOf state: LabState) throws {
    let manifests = state.nodes.map { node in
      Manifest(
        key: Manifest.Key(kind: "Node", namespace: "", name: node.name),
        object: .map([("metadata", .map([("name", .string(node.name))]))]), file: state.directory)
    }
    try self.init(directory: state.directory, manifests: manifests, checksCommands: false)
  }
}
