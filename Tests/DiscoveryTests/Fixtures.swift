import DiscoveryAPI
import Foundation
import Identity
import MeshModel
import Testing

@testable import Discovery

typealias DeltaRequest = Envoy_Service_Discovery_V3_DeltaDiscoveryRequest
typealias DeltaResponse = Envoy_Service_Discovery_V3_DeltaDiscoveryResponse

let workloadType = Weft_Mesh_V1_Workload.typeURL
let serviceType = Weft_Mesh_V1_Service.typeURL
let configType = Weft_Mesh_V1_MeshConfig.typeURL

/// A directory that goes with its owner.
final class TemporaryDirectory: Sendable {
  let path = "/tmp/weft-discovery-tests-\(getpid())-\(UInt32.random(in: 0 ... .max))"

  init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

func resource(
  _ name: String, _ content: String = "1", type: String = workloadType, audience: Audience = .everyNode
) throws -> DiscoveryResource {
  try DiscoveryResource(typeURL: type, name: name, value: Data(content.utf8), audience: audience)
}

func resource(_ name: String, bytes: Int) throws -> DiscoveryResource {
  try DiscoveryResource(
    typeURL: workloadType, name: name, value: Data(repeating: 7, count: bytes), audience: .everyNode)
}

extension DeltaRequest {
  static func subscribe(
    _ names: [String] = [], type: String = workloadType, known: [String: String] = [:]
  ) -> DeltaRequest {
    .with {
      $0.typeURL = type
      $0.resourceNamesSubscribe = names
      $0.initialResourceVersions = known
    }
  }

  static func ack(_ response: DeltaResponse, refusing message: String? = nil) -> DeltaRequest {
    .with {
      $0.typeURL = response.typeURL
      $0.responseNonce = response.nonce
      if let message {
        $0.errorDetail.code = 3
        $0.errorDetail.message = message
      }
    }
  }
}

extension DeltaResponse {
  var names: [String] { resources.map(\.name).sorted() }
}

/// Waits until the condition holds: for what happens on other tasks. Fails the test after the time.
func eventually(
  _ what: String, within seconds: Double = 10, sourceLocation: SourceLocation = #_sourceLocation,
  _ condition: @Sendable () async -> Bool
) async throws {
  let end = ContinuousClock.now + .seconds(seconds)
  while ContinuousClock.now < end {
    if await condition() { return }
    try await Task.sleep(for: .milliseconds(10))
  }
  Issue.record("not within \(seconds) s: \(what)", sourceLocation: sourceLocation)
  throw CancellationError()
}
