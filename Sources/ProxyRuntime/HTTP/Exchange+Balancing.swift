import Glibc
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
      return StableHash.hash(String(value, radix: 16))
    case .sourceAddress: return StableHash.hash(client.address.ip)
    }
  }

  /// The endpoint that the client's session is bound to, with any of the rule's backends: it goes before their weights
  /// (GEP-1619, "Traffic Splitting").
  func findSession(_ plan: RulePlan) {
    guard let sessions = plan.sessions else { return }
    session = sessions.find(in: head, now: unixTime) { backend, endpoint in
      guard let cluster = plan.cluster(backend, worker), plan.rule?.backendFilters[backend].refusal.isEmpty != false
      else { return false }
      cluster.refresh(worker, here: worker.snapshot.workload(id: client.workload))
      return cluster.endpoints.persistent(endpoint) != nil
    }
  }

  private var unixTime: UInt32 { UInt32(clamping: time(nil)) }

  private func setBalancerCookie(_ response: inout HTTPHead, _ attempt: Attempt) {
    guard let newCookie, let cluster = attempt.cluster else { return }
    switch cluster.policy.loadBalancer.algorithm {
    case .ringHash(.cookie(let name, let ttl?)), .maglev(.cookie(let name, let ttl?)):
      response.append("set-cookie", "\(name)=\(String(newCookie, radix: 16)); Max-Age=\(ttl); Path=/; HttpOnly")
    default: break
    }
  }

  /// Tells a new client, or one whose session has moved, ended or been used, what its session is now.
  func setSessionCookies(_ response: inout HTTPHead, _ attempt: Attempt) {
    setBalancerCookie(&response, attempt)
    guard let sessions = plan?.sessions, let target = attempt.target else { return }
    let now = unixTime
    guard let token = sessions.renewal(of: session, backend: backend ?? 0, address: target.address, now: now)
    else { return }
    let isSecure = head.first("x-forwarded-proto").map { head.equalsIgnoringCase($0, "https".utf8) } == true
    sessions.write(token, to: &response, match: matchedBy, isSecure: isSecure, now: now)
  }
}
