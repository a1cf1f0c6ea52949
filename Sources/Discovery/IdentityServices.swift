import DiscoveryAPI
import Foundation
import GRPCCore
import Identity
import Logging
import MeshModel

/// Signs for nodes: identities of workloads that are scheduled on the asking node, and the node's own.
struct SigningService: Weft_Identity_V1_CertificateAuthority.SimpleServiceProtocol {
  let authority: CertificateAuthority
  let lifetime: TimeInterval
  let isScheduled: @Sendable (SPIFFEID, String) -> Bool
  let isNode: @Sendable (String) -> Bool
  let logger: Logger

  func sign(
    request: Weft_Identity_V1_SignRequest, context: ServerContext
  ) async throws -> Weft_Identity_V1_CertificateResponse {
    let peer = try PeerNode(context)
    return try answering { () throws(IdentityError) in
      let signing = try SigningRequest(der: Array(request.certificateSigningRequest))
      switch signing.subject {
      case .workload(let id) where id.trustDomain == authority.trustDomain && isScheduled(id, peer.node): break
      case .node where signing.subject == peer.subject:
        // A certificate that was stolen, or whose node is gone, isn't renewed without end.
        guard isNode(peer.node) else {
          throw IdentityError(.denied, "node \(peer.node) isn't in the cluster; join with a token once it is")
        }
      default:
        logger.warning(
          "refused to sign", metadata: ["node": "\(peer.node)", "identity": "\(signing.subject)"])
        throw IdentityError(.denied, "no workload of \(signing.subject) is scheduled on node \(peer.node)")
      }
      let issued = try authority.sign(signing, for: signing.subject, lifetime: lifetime)
      logger.info(
        "signed", metadata: ["node": "\(peer.node)", "identity": "\(signing.subject)", "serial": "\(issued.serial)"])
      return .init(issued, authority.trustBundle)
    }
  }
}

/// Exchanges tokens for certificates.
struct JoinService: Weft_Identity_V1_NodeJoin.SimpleServiceProtocol {
  let authority: CertificateAuthority
  let lifetime: TimeInterval
  let attestation: any NodeAttestation
  let logger: Logger
  let onRefusal: @Sendable (_ node: String, AttestationError) -> Void

  func join(
    request: Weft_Identity_V1_JoinRequest, context: ServerContext
  ) async throws -> Weft_Identity_V1_CertificateResponse {
    let subject: CertificateSubject
    do {
      subject = try await attestation.attest(token: request.token, node: request.node)
    } catch {
      let node = String(request.node.prefix(253))
      logger.warning("refused to let a node join", metadata: ["node": "\(node)", "reason": "\(error)"])
      onRefusal(node, error)
      // Slows guessing down; the port's stream limit bounds how many wait here.
      try await Task.sleep(for: .milliseconds(250))
      switch error.kind {
      case .unauthenticated: throw RPCError(code: .unauthenticated, message: error.description)
      case .denied: throw RPCError(code: .permissionDenied, message: error.description)
      case .unavailable: throw RPCError(code: .unavailable, message: error.description)
      }
    }
    return try answering { () throws(IdentityError) in
      let issued = try authority.sign(
        csr: Array(request.certificateSigningRequest), for: subject, lifetime: lifetime)
      logger.info("joined", metadata: ["identity": "\(subject)", "serial": "\(issued.serial)"])
      return .init(issued, authority.trustBundle)
    }
  }
}

extension Weft_Identity_V1_CertificateResponse {
  init(_ issued: IssuedIdentity, _ bundle: TrustBundle) {
    self.init()
    chain = issued.chain.map { Data($0) }
    trustBundle = bundle.roots.map { Data($0) }
    issuedAt = Int64(Date().timeIntervalSince1970)
  }
}

private func answering<Answer>(_ body: () throws(IdentityError) -> Answer) throws(RPCError) -> Answer {
  do {
    return try body()
  } catch {
    switch error.kind {
    case .denied: throw RPCError(code: .permissionDenied, message: error.description)
    case .invalid: throw RPCError(code: .invalidArgument, message: error.description)
    case .expired, .file: throw RPCError(code: .failedPrecondition, message: error.description)
    }
  }
}
