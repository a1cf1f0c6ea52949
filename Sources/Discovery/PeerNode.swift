import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Identity

/// Who subscribes to resources, by its certificate: a node, or a pod that carries its connections by itself (the tunnel
/// stub), which gets what nodes with meshed workloads get and may have nothing signed.
struct Subscriber {
  /// Of a node its name; of a pod its SPIFFE ID and a number, since many pods share one.
  let name: String
  let isWorkload: Bool
  let notAfter: Date

  /// - Parameter stream: tells the pods of one identity apart.
  init(_ context: ServerContext, stream: UInt64) throws(RPCError) {
    let identity = try verifiedIdentity(context)
    switch identity.subject {
    case .node(let id): name = id.node
    case .workload(let id): name = "\(id)#\(stream)"
    case .control:
      throw RPCError(
        code: .unauthenticated,
        message: "\(identity.spiffeID) is the control plane; this port takes calls from nodes and pods only")
    }
    if case .workload = identity.subject { isWorkload = true } else { isWorkload = false }
    notAfter = identity.notAfter
  }
}

/// What the peer's certificate says, while it is valid.
private func verifiedIdentity(_ context: ServerContext) throws(RPCError) -> IssuedIdentity {
  guard let transport = context.transportSpecific as? HTTP2ServerTransport.Posix.Context,
    let certificate = transport.peerCertificate
  else { throw RPCError(code: .unauthenticated, message: "this port takes calls with a certificate of the mesh only") }
  let identity: IssuedIdentity
  do {
    identity = try IssuedIdentity(certificate: certificate)
  } catch {
    throw RPCError(code: .unauthenticated, message: "\(error)")
  }
  guard Date() < identity.notAfter else {
    throw RPCError(
      code: .unauthenticated,
      message: "the certificate of \(identity.spiffeID) has expired; connect with a renewed one")
  }
  return identity
}

/// The node at the other end of a call, by its certificate.
struct PeerNode {
  let subject: CertificateSubject
  let node: String
  let notAfter: Date

  init(_ context: ServerContext) throws(RPCError) {
    let identity = try verifiedIdentity(context)
    guard case .node(let id) = identity.subject else {
      throw RPCError(
        code: .unauthenticated, message: "\(identity.spiffeID) is not a node; this call is for nodes only")
    }
    subject = identity.subject
    node = id.node
    notAfter = identity.notAfter
  }
}
