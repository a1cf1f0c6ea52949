import MeshModel

/// A rule of a route, ready to be used. `RouteTable` and `L4RouteTable` hand it out.
public final class CompiledRule: Sendable {
  public let route: Route
  public let rule: RouteRule
  /// In the route.
  public let index: Int
  /// The route's: made once.
  public let routeID: String
  /// Of the rule itself; a backend's follow in `backendFilters`.
  public let filters: FilterChain
  /// As many as the rule has backends.
  public let backendFilters: [FilterChain]
  private let shares: WeightedShares

  init(_ rule: RouteRule, index: Int, of route: Route) {
    self.route = route
    self.rule = rule
    self.index = index
    routeID = route.id
    filters = FilterChain(rule.filters)
    backendFilters = rule.backends.map { FilterChain($0.filters) }
    shares = WeightedShares(rule.backends.map(\.weight))
  }

  public var totalWeight: UInt64 { shares.total }

  /// The backend of a request, in proportion to the weights. nil: there is none, or all weights are 0, which is answered
  /// by 500 unless a filter answers. A backend that is `invalid` keeps its share: the caller answers those by 500.
  /// - Parameter draw: evenly distributed over all of its values.
  public func backend(draw: UInt64) -> Int? { shares.index(draw: draw) }

  public func backend(using random: inout some RandomNumberGenerator) -> Int? { backend(draw: random.next()) }
}

/// Draws places in proportion to their weights.
struct WeightedShares: Sendable {
  /// The sums of the weights up to each place.
  private let sums: [UInt64]

  init(_ weights: [UInt32]) {
    var sum: UInt64 = 0
    sums = weights.map { weight in
      sum += UInt64(weight)
      return sum
    }
  }

  var total: UInt64 { sums.last ?? 0 }

  /// nil where all weights are 0.
  func index(draw: UInt64) -> Int? {
    guard total > 0 else { return nil }
    // Multiplied rather than the remainder: without a bias that could be measured (Lemire 2019).
    let place = draw.multipliedFullWidth(by: total).high
    return sums.firstIndex { place < $0 }
  }
}
