import Discovery
import Identity
import KubernetesAPI
import MeshModel
import Synchronization

/// Agents and stubs join with their pods' projected ServiceAccount tokens, which the API server reviews. The pod itself is
/// asked for each time, so that no remembered review outlives it.
final class TokenReviewAttestation: NodeAttestation {
  /// How a pod fares in the mesh that asks for its own certificate.
  enum Standing: Hashable, Sendable {
    case unknown, other, stub
  }

  private static let pods = KubernetesResource(version: "v1", plural: "pods")

  private let client: KubernetesClient
  private let trustDomain: TrustDomain
  /// Of weft-agent's ServiceAccount.
  private let namespace: String
  private let standing: @Sendable (_ namespace: String, _ pod: String, _ uid: String) -> Standing
  private let limits = Mutex(ReviewLimits())
  private let clock = ContinuousClock()
  private let start = ContinuousClock.now

  init(
    client: KubernetesClient, trustDomain: TrustDomain, namespace: String,
    standing: @escaping @Sendable (_ namespace: String, _ pod: String, _ uid: String) -> Standing
  ) {
    self.client = client
    self.trustDomain = trustDomain
    self.namespace = namespace
    self.standing = standing
  }

  func attest(token: String, node: String) async throws(AttestationError) -> CertificateSubject {
    guard TokenReview.isToken(token) else {
      throw AttestationError(.unauthenticated, "what was sent as a token isn't one of a ServiceAccount")
    }
    let proof = try await review(token)
    let bound = try TokenReview.node(of: proof, pod: try await pod(proof))
    return node.isEmpty ? try workload(proof) : try self.node(node, proof, bound)
  }

  private func node(
    _ node: String, _ proof: TokenReview.Proof, _ bound: String
  ) throws(AttestationError) -> CertificateSubject {
    guard proof.namespace == namespace, proof.serviceAccount == ClusterNames.agentAccount else {
      throw AttestationError(
        .denied,
        "the token is of the ServiceAccount \(proof.namespace)/\(proof.serviceAccount); only "
          + "\(namespace)/\(ClusterNames.agentAccount) joins as a node")
    }
    guard node == bound, let id = NodeID(trustDomain: trustDomain, node: bound) else {
      throw AttestationError(
        .denied, "the token's pod \(proof.namespace)/\(proof.pod) runs on node \(bound), not on \(node.prefix(253))")
    }
    return .node(id)
  }

  private func workload(_ proof: TokenReview.Proof) throws(AttestationError) -> CertificateSubject {
    let label = "\(proof.namespace)/\(proof.pod)"
    switch standing(proof.namespace, proof.pod, proof.podUID) {
    case .unknown: throw AttestationError(.unavailable, "the pod \(label) isn't known here yet")
    case .other:
      throw AttestationError(
        .denied, "the pod \(label) is not meshed by a stub in tunnel mode: its node's agent has its certificate",
        pod: label)
    case .stub: break
    }
    guard
      let id = SPIFFEID(
        trustDomain: trustDomain, namespace: proof.namespace, serviceAccount: proof.serviceAccount)
    else { throw AttestationError(.denied, "\(proof.namespace)/\(proof.serviceAccount) makes no identity") }
    return .workload(id)
  }

  private func review(_ token: String) async throws(AttestationError) -> TokenReview.Proof {
    let digest = ReviewLimits.digest(token)
    let known = limits.withLock { $0.known(digest, now: now) }
    if let known { return known }
    guard limits.withLock({ $0.admit(now: now) }) else {
      throw AttestationError(.unavailable, "too many callers at once; ask again")
    }
    let answer: JSONNode
    do throws(KubernetesError) {
      answer = try await client.create(
        TokenReview.request(token, audience: ClusterNames.audience), as: TokenReview.resource)
    } catch {
      throw AttestationError(.unavailable, "the token can't be reviewed: \(error)")
    }
    let proof = try TokenReview.proof(in: answer, audience: ClusterNames.audience)
    limits.withLock { $0.reviewed(digest, proof, now: now) }
    return proof
  }

  private func pod(_ proof: TokenReview.Proof) async throws(AttestationError) -> JSONNode? {
    do throws(KubernetesError) {
      return try await client.object(Self.pods, namespace: proof.namespace, name: proof.pod)
    } catch {
      throw AttestationError(.unavailable, "the token's pod can't be asked for: \(error)")
    }
  }

  private var now: Double { Double((clock.now - start) / .seconds(1)) }
}
