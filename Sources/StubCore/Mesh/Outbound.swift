import MeshModel

/// Where a captured connection may go.
public enum OutboundDecision: Equatable {
  /// To one of these, balanced.
  case service(String, [StubTarget])
  /// To the workload that was addressed, or out of the mesh.
  case direct(StubTarget)
  case refused(String)
}

/// An address and the way to it.
public struct StubTarget: Hashable {
  public enum Transport: Hashable {
    /// HBONE to port 15008, where exactly this SPIFFE ID must answer.
    case tunnel(String)
    case plaintext
  }

  public var address: SocketAddress
  /// Empty for what isn't of the mesh.
  public var workload: String
  public var transport: Transport
  public var weight: UInt32

  public init(address: SocketAddress, workload: String, transport: Transport, weight: UInt32 = 1) {
    self.address = address
    self.workload = workload
    self.transport = transport
    self.weight = weight
  }
}

extension MeshTable {
  /// - Parameter own: the stub's workload: what is meant for it goes straight to its application.
  public func route(to destination: SocketAddress, own: String) -> OutboundDecision {
    if let service = service(at: destination.ip) {
      guard service.ports.contains(destination.port) else {
        return .refused("the Service \(service.key) has no TCP port \(destination.port)")
      }
      return .service(service.key, targets(of: service.key, port: destination.port, destination.ip.family, own))
    }
    guard let workload = workload(at: destination.ip) else {
      return .direct(StubTarget(address: destination, workload: "", transport: .plaintext))
    }
    if workload.isMeshed, [MeshPort.outbound, MeshPort.inbound].contains(destination.port) {
      return .refused("\(destination.port) is a port of the mesh itself")
    }
    return .direct(target(workload, destination, own))
  }

  private func targets(
    of service: String, port: UInt16, _ family: IPAddress.Family, _ own: String
  ) -> [StubTarget] {
    endpoints(of: service).compactMap { workload in
      guard workload.takesConnections,
        let mapping = workload.memberships.first(where: { $0.service == service })?.ports
          .first(where: { $0.servicePort == port }),
        let ip = workload.addresses.first(where: { $0.family == family }) ?? workload.addresses.first
      else { return nil }
      return target(workload, SocketAddress(ip, mapping.targetPort), own)
    }
  }

  private func target(_ workload: StubWorkload, _ address: SocketAddress, _ own: String) -> StubTarget {
    let isTunnelled = workload.isMeshed && workload.id != own && address.port != MeshPort.hbone
    return StubTarget(
      address: address, workload: workload.id,
      transport: isTunnelled ? .tunnel(identity(of: workload)) : .plaintext, weight: workload.weight)
  }
}

/// Connections under way to each address: what the power of two choices goes by.
public struct EndpointLoads {
  private var active: [SocketAddress: Int] = [:]

  public init() {}

  public mutating func started(_ address: SocketAddress) { active[address, default: 0] += 1 }

  public mutating func ended(_ address: SocketAddress) {
    guard let count = active[address] else { return }
    active[address] = count > 1 ? count - 1 : nil
  }

  public func count(_ address: SocketAddress) -> Int { active[address, default: 0] }

  /// Two at random, and the one that has less to do for its weight; nil where all were tried.
  public func choose(
    _ targets: [StubTarget], excluding tried: [SocketAddress], using random: inout some RandomNumberGenerator
  ) -> StubTarget? {
    let left = tried.isEmpty ? targets : targets.filter { !tried.contains($0.address) }
    guard left.count > 1 else { return left.first }
    let first = Int.random(in: 0..<left.count, using: &random)
    var second = Int.random(in: 0..<left.count - 1, using: &random)
    if second >= first { second += 1 }
    return isLess(left[second], than: left[first]) ? left[second] : left[first]
  }

  private func isLess(_ left: StubTarget, than right: StubTarget) -> Bool {
    (count(left.address) + 1) * Int(right.weight) < (count(right.address) + 1) * Int(left.weight)
  }
}
