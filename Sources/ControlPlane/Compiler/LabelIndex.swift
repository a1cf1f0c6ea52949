/// A label with its value.
struct LabelPair: Hashable, Sendable {
  var key: String
  var value: String
}

/// Which objects of a namespace have a label, or select by one.
struct LabelIndex: Sendable {
  private var names: [String: [LabelPair: Set<String>]] = [:]

  mutating func insert(_ name: ObjectName, under pair: LabelPair) {
    names[name.namespace, default: [:]][pair, default: []].insert(name.name)
  }

  mutating func remove(_ name: ObjectName, under pair: LabelPair) {
    names[name.namespace]?[pair]?.remove(name.name)
    if names[name.namespace]?[pair]?.isEmpty == true { names[name.namespace]?[pair] = nil }
    if names[name.namespace]?.isEmpty == true { names[name.namespace] = nil }
  }

  func count(_ pair: LabelPair, in namespace: String) -> Int {
    names[namespace]?[pair]?.count ?? 0
  }

  func names(_ pair: LabelPair, in namespace: String) -> Set<String> {
    names[namespace]?[pair] ?? []
  }
}

extension Dictionary where Value: SetAlgebra {
  /// Takes one element out of the set under a key, and the key with the last one.
  mutating func remove(_ element: Value.Element, under key: Key) {
    self[key]?.remove(element)
    if self[key]?.isEmpty == true { self[key] = nil }
  }
}

extension Dictionary where Value == Int {
  mutating func add(_ count: Int, under key: Key) {
    let sum = self[key, default: 0] + count
    self[key] = sum == 0 ? nil : sum
  }
}
