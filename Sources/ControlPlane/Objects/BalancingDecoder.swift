import MeshModel

/// A TrafficPolicy's parts that choose an endpoint.
enum BalancingDecoder {
  static func loadBalancer(_ field: Field) throws(ConfigProblem) -> LoadBalancer {
    let fields = try field.fields(Schemas.loadBalancer)
    let name = try fields["algorithm"]?.choice([
      "roundRobin": "roundRobin", "random": "random", "leastRequest": "leastRequest", "peakEWMA": "peakEWMA",
      "ringHash": "ringHash", "maglev": "maglev",
    ])
    let algorithm: LoadBalancer.Algorithm
    switch name {
    case "roundRobin": algorithm = .roundRobin
    case "random": algorithm = .random
    case "leastRequest": algorithm = .leastRequest
    case "ringHash": algorithm = .ringHash(try hash(try fields.required("hash")))
    case "maglev": algorithm = .maglev(try hash(try fields.required("hash")))
    default: algorithm = .peakEWMA
    }
    if let hash = fields["hash"], name != "ringHash", name != "maglev" {
      throw hash.problem("belongs to the algorithms ringHash and maglev")
    }
    return LoadBalancer(algorithm: algorithm, slowStart: try fields["slowStart"]?.duration() ?? 0)
  }

  private static func hash(_ field: Field) throws(ConfigProblem) -> LoadBalancer.HashSource {
    let fields = try field.fields(Schemas.hashSource)
    var sources: [LoadBalancer.HashSource] = []
    if let header = fields["header"] { sources.append(.header(try header.token().lowercased())) }
    if let cookie = try fields["cookie"]?.fields(Schemas.hashCookie) {
      sources.append(.cookie(try cookie.required("name").token(), ttl: try cookie["ttl"]?.lifetime()))
    }
    if let address = fields["sourceAddress"], try address.truth() { sources.append(.sourceAddress) }
    guard sources.count == 1 else { throw field.expected("exactly one of header, cookie and sourceAddress: true") }
    return sources[0]
  }

  static func locality(_ field: Field) throws(ConfigProblem) -> Locality {
    let fields = try field.fields(Schemas.locality)
    let base = Locality()
    return Locality(
      isPreferred: try fields["isPreferred"]?.truth() ?? base.isPreferred,
      panicThreshold: try fields["panicThreshold"]?.percent() ?? base.panicThreshold,
      overprovisioning: try fields["overprovisioning"]?.number(100...10_000) ?? base.overprovisioning)
  }

  static func session(_ field: Field) throws(ConfigProblem) -> SessionPersistence {
    let fields = try field.fields(Schemas.sessionPersistence)
    let isHeader = try fields["isHeader"]?.truth() ?? false
    let lifetime = try fields["lifetime"]?.lifetime()
    return SessionPersistence(
      name: try fields.required("name").token(), isHeader: isHeader, absoluteTimeout: lifetime,
      idleTimeout: try fields["idleTimeout"]?.lifetime(), isPermanent: !isHeader && lifetime != nil)
  }
}
