import MeshModel

/// One question's way through the names of the mesh.
struct DNSLookup<Zone: DNSZone> {
  enum Finding {
    /// Not the mesh's: the workload's own server is asked.
    case notOurs
    case refused
    /// NXDOMAIN.
    case noName
    /// The name exists, without records of this type.
    case nothing
    case addresses([IPAddress])
    case targets([DNSResponseWriter.Target])
    /// The cluster domain's own SOA.
    case zone
  }

  private let question: DNSQuery
  private let namespace: String
  private let zone: Zone
  private let domain: DNSWireName?

  private var name: DNSWireName { question.name }

  init(_ question: DNSQuery, namespace: String, zone: Zone) {
    self.question = question
    self.namespace = namespace
    self.zone = zone
    domain = DNSWireName(zone.clusterDomain)
  }

  /// The finding, and the count of the cluster domain's labels where the name is under it.
  func run() -> (Finding, zoneLabels: Int?) {
    if let domain, let count = name.labels(before: domain) {
      return (isAllowed ? underDomain(labels: count) : .refused, domain.labelCount)
    }
    let finding = outsideDomain()
    if case .notOurs = finding { return (finding, nil) }
    return (isAllowed ? finding : .refused, nil)
  }

  /// Transfers, and classes other than the Internet's, aren't served.
  private var isAllowed: Bool {
    (question.queryClass == DNSClass.internet || question.queryClass == DNSClass.any)
      && question.type != DNSType.axfr && question.type != DNSType.ixfr
  }

  private func underDomain(labels count: Int) -> Finding {
    guard count > 0 else { return question.type == DNSType.soa || question.type == DNSType.any ? .zone : .nothing }
    guard name.label(count - 1, equals: "svc") else { return .noName }
    return serviceSpace(labels: count - 1)
  }

  private func outsideDomain() -> Finding {
    let count = name.labelCount
    guard count > 0 else { return .notOurs }
    // RFC 6761 §6.3: names under `localhost` never leave the host.
    if name.label(count - 1, equals: "localhost") { return addresses([.loopbackV4, .loopbackV6]) }
    if let address = name.reverseAddress {
      return zone.isMeshAddress(address) ? .refused : .notOurs
    }
    if count == 1, let service = name.objectName(ofLabel: 0) {
      return zone.dnsRecord(of: ServiceKey(namespace: namespace, name: service)).map(serviceAddresses) ?? .notOurs
    }
    if count == 2 {
      return service(at: 0).map { serviceAddresses($0.record) } ?? .notOurs
    }
    guard name.label(count - 1, equals: "svc") else { return .notOurs }
    let finding = serviceSpace(labels: count - 1)
    if case .noName = finding { return .notOurs }
    return finding
  }

  /// The first `count` labels, those before `svc`. What a search list makes of a foreign name
  /// (`example.com.shop.svc.cluster.local`) ends here after at most one look into the zone.
  private func serviceSpace(labels count: Int) -> Finding {
    switch count {
    case 0: return .nothing
    // A namespace: the mesh knows only those with Services, and to deny one would deny all below it (RFC 8020).
    case 1: return .nothing
    case 2: return service(at: 0).map { serviceAddresses($0.record) } ?? .noName
    case 3:
      guard let (_, record) = service(at: 1) else { return .noName }
      if let transport = transport(ofLabel: 0) {
        return record.service.ports.contains { $0.transport == transport && !$0.name.isEmpty } ? .nothing : .noName
      }
      return endpointAddresses(record)
    case 4:
      guard let transport = transport(ofLabel: 1), let (key, record) = service(at: 2) else { return .noName }
      return targets(key, record, transport)
    default: return .noName
    }
  }

  private func service(at label: Int) -> (key: ServiceKey, record: DNSServiceRecord)? {
    guard let service = name.objectName(ofLabel: label), let namespace = name.objectName(ofLabel: label + 1) else {
      return nil
    }
    let key = ServiceKey(namespace: namespace, name: service)
    return zone.dnsRecord(of: key).map { (key, $0) }
  }

  private func transport(ofLabel index: Int) -> Service.Transport? {
    name.label(index, equals: "_tcp") ? .tcp : name.label(index, equals: "_udp") ? .udp : nil
  }

  private func serviceAddresses(_ record: DNSServiceRecord) -> Finding {
    guard record.service.isHeadless else { return addresses(record.service.addresses) }
    return addresses(record.shownEndpoints.flatMap(\.addresses))
  }

  private func endpointAddresses(_ record: DNSServiceRecord) -> Finding {
    guard let label = name.objectName(ofLabel: 0) else { return .noName }
    let found = record.shownEndpoints.filter { $0.hasDNSLabel(label) }
    return found.isEmpty ? .noName : addresses(found.flatMap(\.addresses))
  }

  private func addresses(_ all: some Sequence<IPAddress>) -> Finding {
    let fitting: [IPAddress]
    switch question.type {
    case DNSType.a: fitting = all.filter { $0.family == .v4 }
    case DNSType.aaaa: fitting = all.filter { $0.family == .v6 }
    case DNSType.any: fitting = Array(all)
    default: fitting = []
    }
    return fitting.isEmpty ? .nothing : .addresses(fitting)
  }

  /// `_port._transport.service.namespace`: the Service itself, or each workload of a headless one.
  private func targets(_ key: ServiceKey, _ record: DNSServiceRecord, _ transport: Service.Transport) -> Finding {
    let range = name.range(ofLabel: 0)
    guard range.count > 1, name.bytes[range.lowerBound] == UInt8(ascii: "_") else { return .noName }
    let portName = name.bytes[range.dropFirst()]
    guard
      let port = record.service.ports.first(where: { $0.transport == transport && $0.name.utf8.elementsEqual(portName) }
      )
    else { return .noName }
    guard question.type == DNSType.srv || question.type == DNSType.any else { return .nothing }
    let suffix = "\(key.name).\(key.namespace).svc.\(zone.clusterDomain)"
    var targets: [DNSResponseWriter.Target] = []
    if record.service.isHeadless {
      for endpoint in record.shownEndpoints {
        guard let served = endpoint.targetPort(for: port.port), let label = endpoint.dnsLabel,
          let target = DNSWireName("\(label).\(suffix)")
        else { continue }
        targets.append(.init(name: target.bytes, port: served, addresses: endpoint.addresses))
      }
    } else if let target = DNSWireName(suffix) {
      targets.append(.init(name: target.bytes, port: port.port, addresses: record.service.addresses))
    }
    return targets.isEmpty ? .nothing : .targets(targets)
  }
}
