import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Identity

/// The node at the other end of a call, by its certificate.
struct PeerNode {
  let subject: CertificateSubject
  let node: String
  let notAfter: Date

  init(_ context: ServerContext) throws(RPCError) {
    guard let transport = context.transportSpecific as? HTTP2ServerTransport.Posix.Context,
      let certificate = transport.peerCertificate
    else { throw RPCError(code: .unauthenticated, message: "this port takes calls with a node's certificate only") }
    let identity: IssuedIdentity
    do {
      identity = try IssuedIdentity(certificate: certificate)
    } catch {
      throw RPCError(code: .unauthenticated, message: "\(error)")
    }
    guard case .node(let id) = identity.subject else {
      throw RPCError(
        code: .unauthenticated, message: "\(identity.spiffeID) is not a node; this port takes calls from nodes only")
    }
    guard Date() < identity.notAfter else {
      throw RPCError(
        code: .unauthenticated, message: "the certificate of \(id) has expired; connect with a renewed one")
    }
    subject = identity.subject
    node = id.node
    notAfter = identity.notAfter
  }
}
