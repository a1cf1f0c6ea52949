/// What `weft-stub status` prints of a tunnel stub.
struct StubAnswer: Decodable, Equatable, Sendable {
  struct Control: Decodable, Equatable, Sendable {
    var connected: Bool
    var error: String?
  }

  struct Connections: Decodable, Equatable, Sendable {
    var inbound: Int
    var outbound: Int
  }

  var identity: String
  var ready: Bool
  /// Why it isn't ready.
  var reason: String?
  var certificateError: String?
  var control: Control
  var connections: Connections
  var residentBytes: UInt64
}
