/// Where keys go by consistent hashing. It holds every member, healthy or not: a lookup walks on where one can't be
/// used, so that only its keys move and nothing is built again. Built by `EndpointSet.update`, off the request path.
struct ConsistentTable: Sendable {
  enum Kind: Sendable, Equatable { case ring, maglev }

  struct Member: Sendable, Equatable {
    /// `StableHash` of its address.
    var hash: UInt64
    var weight: UInt32
  }

  let kind: Kind
  /// In the order of their hashes, so that every node builds the same table.
  let members: [Member]
  /// The ring's points in ascending order; empty for Maglev.
  private var points: [UInt64] = []
  /// Positions in `members`.
  private var owners: [UInt32] = []

  /// - Parameter members: sorted by hash, without weights of 0.
  init(_ kind: Kind, members: [Member]) {
    self.kind = kind
    self.members = members
    guard !members.isEmpty else { return }
    switch kind {
    case .ring: buildRing()
    case .maglev: buildMaglev()
    }
  }

  var count: Int { owners.count }

  /// The members for a key in the order in which they are tried; the same one may come up more than once.
  /// - Parameter step: 0 for the key's own member, then on.
  func member(for hash: UInt64, step: Int) -> Int {
    switch kind {
    case .ring: Int(owners[(firstPoint(from: hash) + step) % owners.count])
    // A new hash for each step spreads the keys of a lost member over all others.
    case .maglev:
      Int(owners[Int((step == 0 ? hash : StableHash.mix(hash &+ UInt64(step))) % UInt64(owners.count))])
    }
  }

  private func firstPoint(from hash: UInt64) -> Int {
    var low = 0
    var high = points.count
    while low < high {
      let middle = (low + high) / 2
      if points[middle] < hash { low = middle + 1 } else { high = middle }
    }
    return low == points.count ? 0 : low
  }

  /// Points of a member of the mean weight: a power of two, so that one endpoint more or less changes the others'
  /// points only where the count passes one. All together about 1,024 to 65,536.
  private static func pointsPerMember(_ count: Int) -> Int {
    if count <= 8 {
      var points = 128
      while points * count < 1024 { points *= 2 }
      return points
    }
    var points = 128
    while points > 1, points * count > 65_536 { points /= 2 }
    return points
  }

  private mutating func buildRing() {
    let mean = Double(members.reduce(0) { $0 + UInt64($1.weight) }) / Double(members.count)
    let perMember = Double(Self.pointsPerMember(members.count))
    var entries: [(point: UInt64, owner: UInt32)] = []
    for (owner, member) in members.enumerated() {
      let count = max(1, Int((perMember * Double(member.weight) / mean).rounded()))
      for replica in 0..<count {
        entries.append((StableHash.mix(member.hash ^ StableHash.mix(UInt64(replica))), UInt32(owner)))
      }
    }
    entries.sort { ($0.point, $0.owner) < ($1.point, $1.owner) }
    points = entries.map(\.point)
    owners = entries.map(\.owner)
  }

  /// "Maglev: A Fast and Reliable Software Network Load Balancer" (2016), §3.4, with weights: in each round a member of
  /// the mean weight takes one place.
  private mutating func buildMaglev() {
    let size = UInt64(members.count <= 50 ? 5003 : 65_537)
    let total = Double(members.reduce(0) { $0 + UInt64($1.weight) })
    let unowned = UInt32.max
    owners = Array(repeating: unowned, count: Int(size))
    var next = members.map { StableHash.mix($0.hash) % size }
    let skip = members.map { StableHash.mix(~$0.hash) % (size - 1) + 1 }
    let income = members.map { Double($0.weight) * Double(members.count) / total }
    var credit = Array(repeating: 0.0, count: members.count)
    var free = Int(size)
    while true {
      for member in members.indices {
        credit[member] += income[member]
        while credit[member] >= 1 {
          credit[member] -= 1
          while owners[Int(next[member])] != unowned { next[member] = (next[member] + skip[member]) % size }
          owners[Int(next[member])] = UInt32(member)
          free -= 1
          if free == 0 { return }
        }
      }
    }
  }
}
