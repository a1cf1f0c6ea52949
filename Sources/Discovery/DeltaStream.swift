import DequeModule
import DiscoveryAPI

/// The world as one node may see it.
protocol DeltaWorld {
  func resource(_ key: ResourceKey, for node: String) -> DiscoveryResource?
  func forEachResource(_ typeURL: String, for node: String, _ body: (DiscoveryResource) -> Void)
  /// The names of all resources of a type, also of those that a node may not see, sorted: shared by whoever asks.
  func names(_ typeURL: String) -> [String]
}

/// The server's side of one incremental xDS stream: requests and changes in, responses out. Pure: it holds what is
/// due to be sent, by name, and reads the latest value when it is sent; so a burst of changes to one resource costs
/// one sending, and a stream in rest holds nothing. A node that knows nothing yet is told everything from a list of names
/// that all such streams share.
struct DeltaStream {
  enum Refusal: Error, Hashable {
    /// The request names another node than the certificate.
    case wrongNode(String)
    case invalid(String)
  }

  let node: String
  private var types: [String: Subscription] = [:]
  /// The types in the order of their first request: responses take turns in it.
  private var order: [String] = []
  private var turn = 0
  private var lastNonce: UInt64 = 0

  init(node: String) {
    self.node = node
  }

  private struct Subscription {
    var isWildcard = false
    var names: Set<String> = []
    /// What there was when the stream began, as far as it is still to be sent; in it names that the node may not see.
    var initial: ArraySlice<String> = []
    /// Of `initial`, those that have changed meanwhile, and were told so.
    var toldAhead: Set<String> = []
    var due = Deque<String>()
    var isDue: Set<String> = []
    /// The first request is answered even if there is nothing, so that the client knows that it is up to date.
    var owesAnswer = true
    /// Nonce → the names sent with it.
    var unanswered: [String: [String]] = [:]
    var rejected: [String: String] = [:]

    func covers(_ name: String) -> Bool { isWildcard || names.contains(name) }

    var isIdle: Bool { due.isEmpty && initial.isEmpty }

    mutating func enqueue(_ name: String) {
      if isDue.insert(name).inserted { due.append(name) }
    }

    /// The next name to be sent: what has changed comes before what is only new to the node.
    var first: String? { due.first ?? initial.first }

    mutating func removeFirst() {
      guard let name = due.popFirst() else { return removeInitial() }
      isDue.remove(name)
      if !initial.isEmpty { toldAhead.insert(name) }
      guard due.isEmpty else { return }
      // Gives the memory of a burst back.
      due = []
      isDue = []
    }

    private mutating func removeInitial() {
      initial.removeFirst()
      guard initial.isEmpty else { return }
      initial = []
      toldAhead = []
    }
  }

  /// Takes a request.
  ///
  /// - Returns: whether what the node refuses has changed.
  mutating func receive(
    _ request: Envoy_Service_Discovery_V3_DeltaDiscoveryRequest, world: some DeltaWorld
  ) throws(Refusal) -> Bool {
    try check(request)
    let url = request.typeURL
    let isFirst = types[url] == nil
    if isFirst { order.append(url) }
    var subscription = types.removeValue(forKey: url) ?? Subscription()
    let changed = answer(request, &subscription)
    if isFirst {
      start(request, &subscription, world: world)
    } else {
      update(request, &subscription, world: world)
    }
    types[url] = subscription
    return changed
  }

  /// A resource that this node could or can see was changed or removed.
  ///
  /// - Returns: whether there is something to send.
  mutating func changed(_ key: ResourceKey) -> Bool {
    guard types[key.typeURL]?.covers(key.name) == true else { return false }
    types[key.typeURL]?.enqueue(key.name)
    return true
  }

  /// The next response, or nil where nothing is due or too many answers are outstanding.
  mutating func next(
    world: some DeltaWorld, systemVersion: String
  ) -> Envoy_Service_Discovery_V3_DeltaDiscoveryResponse? {
    for step in 0..<order.count {
      let index = (turn + step) % order.count
      let url = order[index]
      guard var subscription = types[url], subscription.owesAnswer || !subscription.isIdle,
        subscription.unanswered.count < DiscoveryLimits.unansweredResponses
      else { continue }
      // Taken out, so that it is not copied while it changes.
      types[url] = nil
      defer { types[url] = subscription }
      guard let names = fill(&subscription, url, world: world) else { continue }
      turn = index + 1
      lastNonce += 1
      var response = names.response
      response.typeURL = url
      response.nonce = String(lastNonce)
      response.systemVersionInfo = systemVersion
      subscription.unanswered[response.nonce] = names.sent
      return response
    }
    return nil
  }

  /// What the node refuses, sorted by type and name.
  var rejected: [RejectedResource] {
    types.sorted { $0.key < $1.key }.flatMap { url, subscription in
      subscription.rejected.sorted { $0.key < $1.key }
        .map { RejectedResource(typeURL: url, name: $0.key, reason: $0.value) }
    }
  }

  var typeURLs: [String] { order }

  /// Whether something is due to be sent, be it that it has to wait for answers.
  var isBehind: Bool { types.values.contains { $0.owesAnswer || !$0.isIdle } }

  /// The names that are to be sent, or sent and not answered; nil: the type isn't subscribed to.
  func pending(_ typeURL: String) -> Set<String>? {
    guard let subscription = types[typeURL] else { return nil }
    return subscription.unanswered.values.reduce(into: subscription.isDue.union(subscription.initial)) {
      $0.formUnion($1)
    }
  }

  private func check(_ request: Envoy_Service_Discovery_V3_DeltaDiscoveryRequest) throws(Refusal) {
    if request.hasNode, !request.node.id.isEmpty, request.node.id != node {
      throw .wrongNode(String(request.node.id.prefix(256)))
    }
    guard 1...DiscoveryLimits.nameBytes ~= request.typeURL.utf8.count else {
      throw .invalid("type_url must have 1 to \(DiscoveryLimits.nameBytes) bytes")
    }
    guard types[request.typeURL] != nil || types.count < DiscoveryLimits.typesPerStream else {
      throw .invalid("more than \(DiscoveryLimits.typesPerStream) types on one stream")
    }
    let names = request.resourceNamesSubscribe + request.resourceNamesUnsubscribe
    let held = types[request.typeURL]?.names.count ?? 0
    guard held + names.count <= DiscoveryLimits.resourcesPerType,
      request.initialResourceVersions.count <= DiscoveryLimits.resourcesPerType
    else { throw .invalid("more than \(DiscoveryLimits.resourcesPerType) names of one type") }
    guard names.allSatisfy({ 1...DiscoveryLimits.nameBytes ~= $0.utf8.count }) else {
      throw .invalid("a resource name must have 1 to \(DiscoveryLimits.nameBytes) bytes")
    }
  }

  /// ACK or NACK. A nonce that is not outstanding is stale and means nothing.
  private func answer(
    _ request: Envoy_Service_Discovery_V3_DeltaDiscoveryRequest, _ subscription: inout Subscription
  ) -> Bool {
    guard !request.responseNonce.isEmpty,
      let names = subscription.unanswered.removeValue(forKey: request.responseNonce)
    else { return false }
    let before = subscription.rejected
    subscription.rejected[""] = nil
    for name in names { subscription.rejected[name] = nil }
    if request.hasErrorDetail {
      let reasons = NackReport.parse(request.errorDetail.message, typeURL: request.typeURL, names: names)
      for (name, reason) in reasons where subscription.rejected.count < 1000 { subscription.rejected[name] = reason }
    }
    return subscription.rejected != before
  }

  private func start(
    _ request: Envoy_Service_Discovery_V3_DeltaDiscoveryRequest, _ subscription: inout Subscription,
    world: some DeltaWorld
  ) {
    let known = request.initialResourceVersions
    subscription.names = Set(request.resourceNamesSubscribe.filter { $0 != "*" })
    subscription.isWildcard =
      request.resourceNamesSubscribe.isEmpty || request.resourceNamesSubscribe.contains("*")
    var due: [String] = []
    if subscription.isWildcard, known.isEmpty {
      subscription.initial = world.names(request.typeURL)[...]
    } else if subscription.isWildcard {
      world.forEachResource(request.typeURL, for: node) { resource in
        if known[resource.name] != resource.version { due.append(resource.name) }
      }
      // Gone, or no longer for this node: sending finds nothing and says so.
      for name in known.keys where !isVisible(request.typeURL, name, world) { due.append(name) }
    }
    for name in subscription.names {
      let resource = world.resource(ResourceKey(typeURL: request.typeURL, name: name), for: node)
      // Told with everything else.
      guard resource == nil || subscription.initial.isEmpty else { continue }
      if resource == nil || known[name] != resource?.version { due.append(name) }
    }
    for name in due.sorted() { subscription.enqueue(name) }
  }

  private func update(
    _ request: Envoy_Service_Discovery_V3_DeltaDiscoveryRequest, _ subscription: inout Subscription,
    world: some DeltaWorld
  ) {
    for name in request.resourceNamesSubscribe where name != "*" {
      subscription.names.insert(name)
      // Sent even if it was sent before: the client may ask again because it forgot it.
      subscription.enqueue(name)
    }
    if request.resourceNamesSubscribe.contains("*"), !subscription.isWildcard {
      subscription.isWildcard = true
      world.forEachResource(request.typeURL, for: node) { subscription.enqueue($0.name) }
    }
    for name in request.resourceNamesUnsubscribe {
      if name == "*" {
        subscription.isWildcard = false
      } else if subscription.names.remove(name) != nil, subscription.isWildcard {
        // The client may have dropped it; the wildcard still covers it.
        subscription.enqueue(name)
      }
      if !subscription.covers(name) { subscription.rejected[name] = nil }
    }
  }

  private func isVisible(_ typeURL: String, _ name: String, _ world: some DeltaWorld) -> Bool {
    world.resource(ResourceKey(typeURL: typeURL, name: name), for: node) != nil
  }

  /// Takes names that are due until a response is full; nil where nothing is left to say.
  private func fill(
    _ subscription: inout Subscription, _ typeURL: String, world: some DeltaWorld
  ) -> (response: Envoy_Service_Discovery_V3_DeltaDiscoveryResponse, sent: [String])? {
    var response = Envoy_Service_Discovery_V3_DeltaDiscoveryResponse()
    var sent: [String] = []
    // Room for the response's own fields.
    var room = DiscoveryLimits.filledBytes - 4096
    while let name = subscription.first {
      let isInitial = subscription.due.isEmpty
      let wasTold = isInitial && subscription.toldAhead.contains(name)
      let found = world.resource(ResourceKey(typeURL: typeURL, name: name), for: node)
      // Of what the node has never seen only what is there is told.
      guard subscription.covers(name), !wasTold, found != nil || !isInitial else {
        subscription.removeFirst()
        continue
      }
      // The fields' tags and lengths and the type URL in each Any.
      let size = (found.map { $0.value.count + $0.version.utf8.count + typeURL.utf8.count } ?? 0) + name.utf8.count + 64
      if size > room, !sent.isEmpty { break }
      room -= size
      subscription.removeFirst()
      sent.append(name)
      guard let found else {
        response.removedResources.append(name)
        continue
      }
      response.resources.append(
        .with {
          $0.name = name
          $0.version = found.version
          $0.resource.typeURL = typeURL
          $0.resource.value = found.value
        })
    }
    guard !sent.isEmpty || subscription.owesAnswer else { return nil }
    subscription.owesAnswer = false
    return (response, sent)
  }
}
