import Testing

@testable import ProxyCore

extension DNSStreamFramer {
  mutating func append(_ bytes: [UInt8]) throws {
    try bytes.withUnsafeBytes { try append($0) }
  }
}

@Suite struct DNSStreamFramerTests {
  let query = DNSPacket.query("example.org").bytes

  @Test func oneByteAtATime() throws {
    var framer = DNSStreamFramer()
    let stream = try #require(DNSStreamFramer.frame(query)) + #require(DNSStreamFramer.frame(query + [0]))
    var messages: [[UInt8]] = []
    for byte in stream {
      try framer.append([byte])
      while let message = try framer.next() { messages.append(message) }
    }
    #expect(messages == [query, query + [0]])
    #expect(framer.isEmpty && framer.outstanding == 2)
  }

  @Test func pipeliningIsBounded() throws {
    var framer = DNSStreamFramer()
    let frame = try #require(DNSStreamFramer.frame(query))
    for _ in 0..<150 { try framer.append(frame) }
    for _ in 0..<100 { #expect(try framer.next() == query) }
    #expect(try framer.next() == nil && !framer.isEmpty)
    framer.finished()
    #expect(try framer.next() == query)
    #expect(try framer.next() == nil)
  }

  @Test func theBufferIsBounded() throws {
    var framer = DNSStreamFramer()
    let longest = try #require(DNSStreamFramer.frame([UInt8](repeating: 1, count: 65_535)))
    #expect(DNSStreamFramer.frame([UInt8](repeating: 1, count: 65_536)) == nil)
    for _ in 0..<2 { try framer.append(longest) }
    #expect(framer.room == 0)
    #expect(throws: DNSStreamFramer.Failure.overflow) {
      try framer.append([UInt8](repeating: 0, count: 1))
    }
    #expect(try framer.next()?.count == 65_535)
    #expect(framer.room == 65_537)
  }

  @Test(arguments: [0, 1, 11]) func shortMessagesEndTheStream(_ length: Int) throws {
    var framer = DNSStreamFramer()
    try framer.append([0, UInt8(length)])
    #expect(throws: DNSStreamFramer.Failure.shortMessage(length)) { try framer.next() }
  }
}
