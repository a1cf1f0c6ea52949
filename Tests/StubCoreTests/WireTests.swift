import Testing

@testable import StubCore

struct WireTests {
  @Test func protobufNumbersAndLengthsAreBounded() {
    let bad: [[UInt8]] = [
      [0x08], [0x08, 0x80], [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], [0x0a, 0x05, 0x01],
      [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], [0x00, 0x01], [0x0b], [0x0d, 0x01, 0x02],
      [0x09, 1, 2, 3, 4, 5, 6, 7],
    ]
    for bytes in bad {
      #expect(throws: WireError.self, "\(bytes)") { try fields(bytes) }
    }
  }

  @Test func protobufThereAndBack() throws {
    var writer = ProtobufWriter()
    writer.number(1, .max)
    writer.text(300, "über")
    writer.number(2, 0)
    #expect(try fields(writer.bytes) == [1: ["18446744073709551615"], 300: ["über"]])
  }

  @Test func grpcMessagesInAnyPieces() throws {
    let messages: [[UInt8]] = [[], [1, 2, 3], Array(repeating: 7, count: 1000)]
    let stream = messages.flatMap(GRPCWriter.frame)
    for size in [1, 2, 5, 7, stream.count] {
      var reader = GRPCReader(limit: 1000)
      var got: [[UInt8]] = []
      for start in stride(from: 0, to: stream.count, by: size) {
        try reading(Array(stream[start..<min(start + size, stream.count)])) { bytes in
          try reader.receive(bytes) { (message) throws(WireError) in got.append(Array(message)) }
        }
      }
      #expect(got == messages && reader.isEmpty)
    }
  }

  @Test func grpcMessagesAreBoundedBeforeTheyAreHeld() {
    var reader = GRPCReader(limit: 1000)
    #expect(throws: WireError("a gRPC message of 1001 bytes; at most 1000 are accepted")) {
      try reading([0, 0, 0, 3, 0xe9]) { try reader.receive($0) { _ in } }
    }
    var compressed = GRPCReader(limit: 1000)
    #expect(throws: WireError.self) { try reading([1, 0, 0, 0, 0]) { try compressed.receive($0) { _ in } } }
  }

  @Test func queuesGiveBackWhatTheyHeldInOrder() {
    var queue = ByteQueue()
    var got: [UInt8] = []
    for round in 0..<50 {
      reading([UInt8](repeating: UInt8(round), count: 100)) { queue.append($0) }
      queue.take { bytes in
        got += bytes.prefix(70)
        return min(70, bytes.count)
      }
    }
    queue.take { bytes in
      got += bytes
      return bytes.count
    }
    #expect(queue.isEmpty && queue.count == 0)
    #expect(got == (0..<50).flatMap { [UInt8](repeating: UInt8($0), count: 100) })
  }

  @Test func joinAnswersAreBounded() throws {
    var writer = ProtobufWriter()
    writer.data(1, [1])
    #expect(throws: WireError.self) { try reading(writer.bytes) { try JoinMessages.response($0) } }
    writer.data(2, [2])
    #expect(try reading(writer.bytes) { try JoinMessages.response($0) }.roots == [[2]])
    for _ in 0..<8 { writer.data(1, [1]) }
    #expect(throws: WireError.self) { try reading(writer.bytes) { try JoinMessages.response($0) } }
  }
}
