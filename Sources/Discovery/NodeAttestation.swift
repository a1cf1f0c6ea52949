import Identity
import MeshModel

/// Finds out who asks to join.
public protocol NodeAttestation: Sendable {
  /// - Parameters:
  ///   - token: as it came, of any length up to the port's bound of a request.
  ///   - node: whose certificate is asked for; empty: the caller is a pod that asks for its own.
  /// - Returns: the node of that name, or where it is empty the pod's identity.
  func attest(token: String, node: String) async throws(AttestationError) -> CertificateSubject
}

/// Why a caller isn't let in: a sentence for whoever operates it. It never holds the token.
public struct AttestationError: Error, Hashable, CustomStringConvertible {
  public enum Kind: Hashable, Sendable {
    /// The token proves nothing.
    case unauthenticated
    /// The token proves another identity than the one that is asked for.
    case denied
    /// Nothing can be found out now: the caller has to ask again.
    case unavailable
  }

  public let kind: Kind
  public let description: String
  /// `namespace/name` of the pod that the token is proven to be of, where it asks for itself.
  public let pod: String?

  public init(_ kind: Kind, _ description: String, pod: String? = nil) {
    self.kind = kind
    self.description = description
    self.pod = pod
  }
}

/// Nodes join with the tokens of a file.
public final class JoinTokenAttestation: NodeAttestation {
  private let trustDomain: TrustDomain
  private let tokens: Guarded<JoinTokens>

  public init(_ tokens: JoinTokens, trustDomain: TrustDomain) {
    self.trustDomain = trustDomain
    self.tokens = Guarded(tokens)
  }

  /// Takes other tokens from now on.
  public func use(_ joinTokens: JoinTokens) { tokens.value = joinTokens }

  public func attest(token: String, node: String) async throws(AttestationError) -> CertificateSubject {
    guard let id = NodeID(trustDomain: trustDomain, node: node), tokens.value.accepts(token: token, node: node) else {
      throw AttestationError(.unauthenticated, "the join token is not that of node \(node.prefix(253))")
    }
    return .node(id)
  }
}
