/// The open streams by number: a hash table without chains, whose hash is the number's place in the order of streams, so
/// that streams opened one after the other lie side by side. An index is valid until a stream comes or goes.
struct StreamTable {
  struct Stream {
    /// 0: a free slot.
    var id: UInt32 = 0
    var sendWindow = 0
    /// What the peer may still send.
    var receiveWindow = 0
    /// Consumed by the application, not given back yet.
    var unacknowledged = 0
    /// What the peer's content-length leaves; -1: there is none.
    var expected = -1
    var localEnded = false
    var remoteEnded = false
    /// The final head came; the final head went.
    var headReceived = false
    var headSent = false
    /// Client: the request was HEAD, or CONNECT.
    var isHead = false
    var isConnect = false
    /// Server: a request in vain, whose answer earns nothing back.
    var isWasted = false
  }

  private(set) var count = 0
  private var slots = [Stream](repeating: Stream(), count: 16)

  subscript(index: Int) -> Stream {
    _read { yield slots[index] }
    _modify { yield &slots[index] }
  }

  func index(of id: UInt32) -> Int? {
    var slot = home(id)
    while slots[slot].id != id {
      guard slots[slot].id != 0 else { return nil }
      slot = (slot + 1) & (slots.count - 1)
    }
    return slot
  }

  /// `stream` is not there yet.
  mutating func insert(_ stream: Stream) {
    if 2 * (count + 1) > slots.count { grow() }
    place(stream)
    count += 1
  }

  mutating func remove(at index: Int) {
    let mask = slots.count - 1
    var hole = index
    var next = (hole + 1) & mask
    // What could not lie where it belongs moves up into the hole.
    while slots[next].id != 0 {
      if (next - home(slots[next].id)) & mask >= (next - hole) & mask {
        slots[hole] = slots[next]
        hole = next
      }
      next = (next + 1) & mask
    }
    slots[hole].id = 0
    count -= 1
  }

  mutating func forEach(_ body: (inout Stream) -> Void) {
    for slot in slots.indices where slots[slot].id != 0 { body(&slots[slot]) }
  }

  /// The index of some stream above `id`.
  func index(above id: UInt32) -> Int? { slots.firstIndex { $0.id > id } }

  private mutating func grow() {
    let old = slots
    slots = [Stream](repeating: Stream(), count: 2 * old.count)
    for stream in old where stream.id != 0 { place(stream) }
  }

  private mutating func place(_ stream: Stream) {
    var slot = home(stream.id)
    while slots[slot].id != 0 { slot = (slot + 1) & (slots.count - 1) }
    slots[slot] = stream
  }

  private func home(_ id: UInt32) -> Int { Int(id >> 1) & (slots.count - 1) }
}

/// How the last 128 streams that are gone ended: a frame that comes late is told from one that breaks the rules.
struct ClosedStreams {
  enum Ending: UInt32 {
    /// Reset by this end: the peer may not know yet.
    case resetHere = 0
    case resetByPeer = 1
    /// Both directions ended.
    case ended = 2
  }

  private var ring: [UInt32] = []
  private var next = 0

  mutating func add(_ id: UInt32, _ ending: Ending) {
    let entry = id << 2 | ending.rawValue
    if ring.count < 128 { ring.append(entry) } else { ring[next] = entry }
    next = (next + 1) & 127
  }

  /// nil: longer ago than the memory reaches. The number's upper two bits don't count.
  func ending(of id: UInt32) -> Ending? {
    ring.first { $0 >> 2 == id & 0x3fff_ffff }.flatMap { Ending(rawValue: $0 & 3) }
  }
}
