import MeshModel
import ProxyCore

/// What ties a client to an endpoint: hashes and cookies.
extension Exchange {
  /// The key of ring hash and Maglev; nil where the policy asks for none, or the request has none.
  func balancingHash(_ balancer: LoadBalancer) -> UInt64? {
    let source: LoadBalancer.HashSource
    switch balancer.algorithm {
    case .ringHash(let chosen), .maglev(let chosen): source = chosen
    default: return nil
    }
    switch source {
    case .header(let name):
      return head.index(named: name).map { index in
        head.withBytes(of: head.fields[index].value) { StableHash.hash($0) }
      }
    case .cookie(let name, let ttl):
      if let slice = Cookies.value(name, in: head) { return head.withBytes(of: slice) { StableHash.hash($0) } }
      guard ttl != nil else { return nil }
      let value = newCookie ?? worker.loop.random.next()
      newCookie = value
      return Array(String(value, radix: 16).utf8).withUnsafeBytes { StableHash.hash($0) }
    case .sourceAddress: return StableHash.hash(client.address.ip)
    }
  }

  /// The endpoint that the client's session is bound to, if it says one.
  func readSession() {
    guard let session = plan?.sessionPersistence else { return }
    let value: HTTPHead.Slice?
    if session.isHeader {
      value = head.index(named: session.name.lowercased()).map { head.fields[$0].value }
    } else {
      value = Cookies.value(session.name, in: head)
    }
    cookie = value.flatMap { slice in head.withBytes(of: slice) { EndpointToken($0) } }
  }

  private func setBalancerCookie(_ response: inout HTTPHead, _ attempt: Attempt) {
    guard let newCookie, let cluster = attempt.cluster else { return }
    switch cluster.policy.loadBalancer.algorithm {
    case .ringHash(.cookie(let name, let ttl?)), .maglev(.cookie(let name, let ttl?)):
      response.append("set-cookie", "\(name)=\(String(newCookie, radix: 16)); Max-Age=\(ttl); Path=/; HttpOnly")
    default: break
    }
  }

  /// Tells a new client, or one whose endpoint is gone, which endpoint it has now.
  func setSessionCookies(_ response: inout HTTPHead, _ attempt: Attempt) {
    setBalancerCookie(&response, attempt)
    guard let session = plan?.sessionPersistence, let target = attempt.target else { return }
    let token = EndpointToken(target.address)
    guard cookie != token else { return }
    var value: [UInt8] = []
    if session.isHeader {
      token.write(to: &value)
      response.set(session.name, String(decoding: value, as: UTF8.self))
      return
    }
    value += session.name.utf8
    value.append(UInt8(ascii: "="))
    token.write(to: &value)
    if let lifetime = session.lifetime { value += "; Max-Age=\(lifetime)".utf8 }
    value += "; Path=/; HttpOnly".utf8
    response.append(name: "set-cookie".utf8, value: value)
  }
}
