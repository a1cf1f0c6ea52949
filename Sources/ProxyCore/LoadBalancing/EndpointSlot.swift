import MeshModel

/// What is known of an address.
struct EndpointSlot {
  var address: SocketAddress
  /// Counts the addresses that had this slot, so that an old try doesn't end a new endpoint's.
  var generation: UInt32 = 0
  var isTaken = false
  /// In `endpoints`; -1: gone, but for its outstanding tries.
  var index: Int32 = -1
  /// 0 while it drains.
  var weight: UInt32 = 0
  /// In the last update, and not draining.
  var wasReady = false
  /// nil: at its full weight from the beginning.
  var slowSince: NanoTime?
  var outstanding = 0
  /// Of smooth weighted round robin, in thousandths of a weight.
  var credit: Int64 = 0
  var latency = PeakEWMA()
  /// Of `EndpointSet.outliers`; -1: errors aren't looked at, or the board is full.
  var place: Int32 = -1
  /// As the pools have it.
  var isEjected = false

  init(address: SocketAddress, generation: UInt32 = 0) {
    self.address = address
    self.generation = generation
  }
}
