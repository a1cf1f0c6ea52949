import MeshModel

/// A query that a server hasn't answered yet.
struct DNSOutstandingQuery: Sendable {
  /// As sent.
  var id: UInt16
  /// As the client chose it.
  var clientID: UInt16
  var client: DNSClient
  var server: SocketAddress
  /// As sent.
  var message: [UInt8]
  /// The question stands in the message from byte 12 to here.
  var questionEnd: Int
  var answerLimit: Int
  var deadline: NanoTime
  var attemptsLeft: Int

  /// Whether the message, which has at least a header, answers this question. The ids have been compared.
  func isAnswered(by answer: [UInt8]) -> Bool {
    guard answer[2] & 0x80 != 0, answer[2] & 0x78 == 0 else { return false }
    let questions = UInt16(answer[4]) << 8 | UInt16(answer[5])
    if questions == 0, answer.count == DNSLimits.header {
      // Servers that don't understand EDNS may say so with a header alone (RFC 6891 §7).
      let code = UInt16(answer[3]) & DNSFlag.responseCode
      return code == DNSResponseCode.formatError.rawValue || code == DNSResponseCode.notImplemented.rawValue
    }
    // A question is first in its message, so its name can't be compressed: bytes compare.
    guard questions == 1, answer.count >= questionEnd else { return false }
    // The last four bytes, type and class, compare exactly.
    return (DNSLimits.header..<questionEnd).allSatisfy { index in
      index < questionEnd - 4
        ? answer[index].dnsLowercased == message[index].dnsLowercased : answer[index] == message[index]
    }
  }

  /// The answer without records and with TC set, for a client that said it can't take more.
  func truncated(_ answer: [UInt8]) -> [UInt8] {
    var short = Array(answer[..<min(questionEnd, answer.count)])
    short[2] |= UInt8(DNSFlag.truncated >> 8)
    for offset in [6, 8, 10] { short.setDNS(0, at: offset) }
    return short
  }
}

/// Outstanding queries by id, and in the order of their deadlines: a doubly linked list through slots that are
/// used again, so that nothing grows with the rate of queries.
struct DNSOutstandingQueries: Sendable {
  private struct Slot: Sendable {
    var query: DNSOutstandingQuery
    var previous: Int
    var next: Int
  }

  private static let none = -1
  private let capacity: Int
  private var slots: [Slot?] = []
  private var free: [Int] = []
  private var indices: [UInt16: Int] = [:]
  private var head = Self.none
  private var tail = Self.none

  init(capacity: Int) {
    self.capacity = capacity
  }

  var count: Int { indices.count }

  /// The query with the nearest deadline.
  var oldest: DNSOutstandingQuery? { head == Self.none ? nil : slots[head]?.query }

  func contains(_ id: UInt16) -> Bool { indices[id] != nil }

  subscript(id: UInt16) -> DNSOutstandingQuery? { indices[id].flatMap { slots[$0]?.query } }

  /// The caller keeps below the capacity, and ids unique.
  mutating func insert(_ query: DNSOutstandingQuery) {
    precondition(count < capacity && !contains(query.id), "an outstanding query too many")
    // Deadlines come almost in order: only a TCP query's longer one lets later ones pass it.
    var previous = tail
    while previous != Self.none, let slot = slots[previous], slot.query.deadline > query.deadline {
      previous = slot.previous
    }
    let next = previous == Self.none ? head : slots[previous]?.next ?? Self.none
    let slot = Slot(query: query, previous: previous, next: next)
    let index: Int
    if let reused = free.popLast() {
      index = reused
      slots[index] = slot
    } else {
      index = slots.count
      slots.append(slot)
    }
    indices[query.id] = index
    if previous == Self.none { head = index } else { slots[previous]?.next = index }
    if next == Self.none { tail = index } else { slots[next]?.previous = index }
  }

  @discardableResult
  mutating func remove(_ id: UInt16) -> DNSOutstandingQuery? {
    guard let index = indices.removeValue(forKey: id), let slot = slots[index] else { return nil }
    if slot.previous == Self.none { head = slot.next } else { slots[slot.previous]?.next = slot.next }
    if slot.next == Self.none { tail = slot.previous } else { slots[slot.next]?.previous = slot.previous }
    slots[index] = nil
    free.append(index)
    return slot.query
  }

  mutating func removeOldest() -> DNSOutstandingQuery? { oldest.flatMap { remove($0.id) } }

  /// In the order of their deadlines.
  mutating func removeAll(where matches: (DNSOutstandingQuery) -> Bool) -> [DNSOutstandingQuery] {
    var found: [UInt16] = []
    var index = head
    while index != Self.none, let slot = slots[index] {
      if matches(slot.query) { found.append(slot.query.id) }
      index = slot.next
    }
    return found.compactMap { remove($0) }
  }
}
