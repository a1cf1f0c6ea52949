import NIOCore
import NIOHPACK
import Testing

@testable import ProxyCore

/// The coder against RFC 7541's examples and against NIOHPACK.
@Suite struct HPACKTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var kind: MessageKind
    /// Blocks of one connection in turn, in hexadecimal, with the fields in them.
    var blocks: [(hex: String, fields: [String])]
    var testDescription: String { name }
  }

  static let vectors = [
    Case(
      name: "C.3 requests", kind: .request,
      blocks: [
        (
          "828684410f7777772e6578616d706c652e636f6d",
          [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"]
        ),
        (
          "828684be58086e6f2d6361636865",
          [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"]
        ),
        (
          "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
          [
            ":method: GET", ":scheme: https", ":path: /index.html", ":authority: www.example.com",
            "custom-key: custom-value",
          ]
        ),
      ]),
    Case(
      name: "C.4 requests, Huffman", kind: .request,
      blocks: [
        (
          "828684418cf1e3c2e5f23a6ba0ab90f4ff",
          [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"]
        ),
        (
          "828684be5886a8eb10649cbf",
          [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"]
        ),
        (
          "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
          [
            ":method: GET", ":scheme: https", ":path: /index.html", ":authority: www.example.com",
            "custom-key: custom-value",
          ]
        ),
      ]),
    Case(
      name: "C.2.1 to C.2.3 literals", kind: .request,
      blocks: [
        (
          "82868401" + "0161" + "400a637573746f6d2d6b65790d637573746f6d2d686561646572"
            + "100870617373776f726406736563726574",
          [
            ":method: GET", ":scheme: http", ":path: /", ":authority: a", "custom-key: custom-header",
            "password: secret",
          ]
        )
      ]),
  ]

  /// What a head holds, a line for each field.
  static func lines(_ head: HTTPHead, _ kind: MessageKind) -> [String] {
    var lines: [String] = []
    func add(_ name: String, _ slice: HTTPHead.Slice) {
      if !slice.isEmpty { lines.append("\(name): \(head.text(slice))") }
    }
    add(":method", head.method)
    add(":scheme", head.scheme)
    add(":path", head.path)
    add(":authority", head.authority)
    if head.status != 0 { lines.append(":status: \(head.status)") }
    return lines + head.fields.map { "\(head.text($0.name)): \(head.text($0.value))" }
  }

  static func decode(
    _ block: [UInt8], _ kind: MessageKind, with decoder: inout HeaderDecoder
  ) throws -> (head: HTTPHead, rules: MessageRules) {
    var head = HTTPHead()
    var rules = MessageRules(kind, maximumSize: 64 << 10, maximumFields: 200)
    try block.withUnsafeBytes { try decoder.decode($0, into: &head, rules: &rules) }
    rules.finish(&head)
    return (head, rules)
  }

  static func encode(_ head: HTTPHead, _ kind: MessageKind, with encoder: inout HeaderEncoder) -> [UInt8] {
    let bound = encoder.bound(of: head)
    return [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
      count = encoder.encode(head, as: kind, into: UnsafeMutableRawBufferPointer(buffer))
    }
  }

  private static func bytes(_ hex: String) -> [UInt8] {
    let digits = Array(hex)
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(String(digits[$0...$0 + 1]), radix: 16)! }
  }

  @Test(arguments: vectors) func theExamplesOfTheRFC(example: Case) throws {
    var decoder = HeaderDecoder()
    for (hex, fields) in example.blocks {
      let (head, rules) = try Self.decode(Self.bytes(hex), example.kind, with: &decoder)
      #expect(Self.lines(head, example.kind) == fields)
      #expect(!rules.isMalformed)
    }
  }

  /// C.5 and C.6: responses with a table of 256 bytes, from which entries are evicted.
  @Test(arguments: [
    [
      "3fe101"
        + "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470"
        + "733a2f2f7777772e6578616d706c652e636f6d",
      "4803333037c1c0bf",
      "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a"
        + "584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
    ],
    [
      "3fe101"
        + "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae"
        + "43d3",
      "4883640effc1c0bf",
      "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f36"
        + "72c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ],
  ])
  func evictionAsInTheExamples(blocks: [String]) throws {
    let cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
    let private1 = [
      "cache-control: private", "date: Mon, 21 Oct 2013 20:13:21 GMT", "location: https://www.example.com",
    ]
    let expected = [
      [":status: 302"] + private1, [":status: 307"] + private1,
      [
        ":status: 200", "cache-control: private", "date: Mon, 21 Oct 2013 20:13:22 GMT",
        "location: https://www.example.com", "content-encoding: gzip", "set-cookie: \(cookie)",
      ],
    ]
    var decoder = HeaderDecoder()
    for (hex, fields) in zip(blocks, expected) {
      let (head, rules) = try Self.decode(Self.bytes(hex), .response, with: &decoder)
      #expect(Self.lines(head, .response) == fields)
      #expect(!rules.isMalformed)
    }
  }

  @Test func integers() {
    for (value, prefix, encoded) in [(10, 5, [0x0a]), (1337, 5, [0x1f, 0x9a, 0x0a]), (42, 8, [0x2a])] {
      let bytes = encoded.map(UInt8.init)
      var cursor = 0
      #expect(bytes.withUnsafeBytes { HPACKInteger.read($0, at: &cursor, prefix: prefix) } == value)
      #expect(cursor == bytes.count)
    }
    for value in Array(0...2000) + [16_383, 16_384, 1 << 20, HPACKInteger.maximum] {
      for prefix in 1...8 {
        var bytes = [UInt8](repeating: 0, count: 8)
        let count = bytes.withUnsafeMutableBytes {
          HPACKInteger.write(value, prefix: prefix, pattern: 0, to: $0.baseAddress!)
        }
        #expect(count <= HPACKInteger.longest)
        var cursor = 0
        #expect(bytes.withUnsafeBytes { HPACKInteger.read($0, at: &cursor, prefix: prefix) } == value)
        #expect(cursor == count)
      }
    }
  }

  /// Truncated, endless and oversized blocks each end as a compression error.
  @Test(arguments: [
    [0x80], [0xbe], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], [0x40], [0x40, 0x03, 0x61],
    [0x41], [0x41, 0x05, 0x61], [0x7e, 0x00], [0x3f, 0xe2, 0x1f], [0x82, 0x20], [0xff, 0x80],
    // Huffman: padding of 8 bits, padding of zeros, the end symbol, a code cut in two.
    [0x41, 0x82, 0x1f, 0xff], [0x41, 0x81, 0x18], [0x41, 0x84, 0xff, 0xff, 0xff, 0xff], [0x41, 0x81, 0xfe],
  ])
  func brokenBlocks(block: [Int]) {
    var decoder = HeaderDecoder()
    let error = #expect(throws: HTTP2Error.self) {
      _ = try Self.decode(block.map(UInt8.init), .request, with: &decoder)
    }
    #expect(error?.code == .compressionError)
  }

  @Test func everySymbolOfTheHuffmanCode() throws {
    var nio = HPACKEncoder(allocator: ByteBufferAllocator())
    var decoder = HeaderDecoder()
    // All bytes that UTF-8 has; of the code's other 13 symbols NIOHPACK can't be asked for one.
    let scalars =
      Array(0..<0x800) + Array(stride(from: 0x800, to: 0xd800, by: 97))
      + Array(stride(from: 0xe000, to: 0x10_ffff, by: 4099))
    for scalar in scalars {
      let value =
        "0" + String(repeating: String(UnicodeScalar(UInt32(scalar))!), count: 5)
        + "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      var block = ByteBuffer()
      try nio.encode(headers: HPACKHeaders([("x", value)]), to: &block)
      let (head, rules) = try Self.decode(Array(block.readableBytesView), .trailers, with: &decoder)
      let isText = scalar >= 0x20 && scalar != 0x7f || scalar == 0x09
      #expect(rules.isMalformed == !isText)
      if isText { #expect(Self.lines(head, .trailers) == ["x: \(value)"]) }
    }
  }

  private static let names = [
    "x-a", "accept", "content-type", "user-agent", "cookie", "authorization", "x-request-id", "etag", "te",
    "grpc-status", "a-very-long-name-that-is-its-own-kind-of-thing",
  ]

  private static func fields(_ random: inout SeededRandom) -> [(String, String)] {
    (0..<Int.random(in: 0...12, using: &random)).map { _ in
      let name = names.randomElement(using: &random)!
      if name == "te" { return (name, "trailers") }
      let count =
        Bool.random(using: &random) ? Int.random(in: 0...3, using: &random) : Int.random(in: 0...300, using: &random)
      let letters = Array("abé~0/ -%")
      let value = String((0..<count).map { _ in letters.randomElement(using: &random)! })
      return (name, "v" + value + "v")
    }
  }

  private static func head(_ fields: [(String, String)]) -> HTTPHead {
    var head = HTTPHead()
    for (name, value) in fields { head.append(name, value) }
    return head
  }

  /// NIOHPACK writes, this coder reads.
  @Test(arguments: 0..<10 as Range<UInt64>) func readsWhatNIOHPACKWrites(seed: UInt64) throws {
    var random = SeededRandom(state: seed)
    var encoder = HPACKEncoder(allocator: ByteBufferAllocator())
    var decoder = HeaderDecoder()
    for round in 0..<300 {
      if round % 50 == 49 { try encoder.setDynamicTableSize(Int.random(in: 0...4096, using: &random)) }
      let fields = Self.fields(&random)
      var block = ByteBuffer()
      try encoder.encode(headers: HPACKHeaders(fields), to: &block)
      let (head, rules) = try Self.decode(Array(block.readableBytesView), .trailers, with: &decoder)
      #expect(!rules.isMalformed && !rules.isTooLarge)
      #expect(withoutCookies(Self.lines(head, .trailers)) == withoutCookies(fields.map { "\($0): \($1)" }))
    }
  }

  /// This coder writes, NIOHPACK and this coder read.
  @Test(arguments: 0..<10 as Range<UInt64>) func isReadByNIOHPACK(seed: UInt64) throws {
    var random = SeededRandom(state: seed &+ 500)
    var encoder = HeaderEncoder()
    var nio = HPACKDecoder(allocator: ByteBufferAllocator())
    nio.maxHeaderListSize = 64 << 10
    var decoder = HeaderDecoder()
    var repeated = Self.fields(&random)
    for round in 0..<300 {
      if round % 20 == 19 { repeated = Self.fields(&random) }
      if round % 50 == 49 {
        // Down and up again between two blocks: both sizes have to be told.
        encoder.setTableSize(Int.random(in: 0...500, using: &random))
        encoder.setTableSize(Int.random(in: 0...9000, using: &random))
      }
      let fields = repeated + Self.fields(&random)
      let block = Self.encode(Self.head(fields), .trailers, with: &encoder)
      var buffer = ByteBuffer(bytes: block)
      let seen = try nio.decodeHeaders(from: &buffer)
      #expect(seen.map { "\($0.name): \($0.value)" } == fields.map { "\($0): \($1)" })
      let (head, rules) = try Self.decode(block, .trailers, with: &decoder)
      #expect(!rules.isMalformed)
      #expect(withoutCookies(Self.lines(head, .trailers)) == withoutCookies(fields.map { "\($0): \($1)" }))
    }
  }

  /// Several cookies come as one (their order among the other fields is the first one's).
  private func withoutCookies(_ lines: [String]) -> [String] { lines.filter { !$0.hasPrefix("cookie:") } }

  /// A value with a space at its end would be malformed on the next hop.
  @Test(arguments: [(["a=1", "b=2"], "a=1; b=2"), (["", "a=1", "", "b=2", ""], "a=1; b=2"), (["", ""], "")])
  func emptyCookiesLeaveNothing(cookies: [String], joined: String) throws {
    var decoder = HeaderDecoder()
    // Literals with the name of the static table's entry 32.
    let block: [UInt8] = cookies.flatMap { [0x0f, 0x11, UInt8($0.utf8.count)] + Array($0.utf8) }
    let (head, rules) = try Self.decode(block, .trailers, with: &decoder)
    #expect(Self.lines(head, .trailers) == ["cookie: \(joined)"])
    #expect(!rules.isMalformed)
  }

  @Test func aRepeatedHeadBecomesIndexes() throws {
    var encoder = HeaderEncoder()
    var decoder = HeaderDecoder()
    var head = Self.head([("content-type", "application/grpc"), ("grpc-timeout", "1S"), ("User-Agent", "Grpc")])
    head.setMethod("POST".utf8)
    head.setPath("/shop.Catalog/Get".utf8)
    head.setAuthority("catalog:80".utf8)
    let sizes = try (0..<4).map { _ in
      let block = Self.encode(head, .request, with: &encoder)
      let decoded = try Self.decode(block, .request, with: &decoder)
      #expect(!decoded.rules.isMalformed)
      #expect(
        Self.lines(decoded.head, .request) == [
          ":method: POST", ":scheme: http", ":path: /shop.Catalog/Get", ":authority: catalog:80",
          "content-type: application/grpc", "grpc-timeout: 1S", "user-agent: Grpc",
        ])
      return block.count
    }
    #expect(sizes[0] > 60 && sizes[1] > 60)
    #expect(sizes[2] == 7 && sizes[3] == 7)
  }

  @Test func secretsNeverEnterATable() throws {
    var encoder = HeaderEncoder()
    var head = Self.head([("authorization", "Bearer x"), ("cookie", "a=b"), ("set-cookie", "a=b"), ("x-key", "secret")])
    head.fields[3].neverIndexed = true
    let blocks = (0..<4).map { _ in Self.encode(head, .trailers, with: &encoder) }
    #expect(Set(blocks).count == 1)
    #expect(blocks[0].starts(with: [0x1f, 23 - 15, 8]))
    var decoder = HeaderDecoder()
    #expect(try Self.decode(blocks[0], .trailers, with: &decoder).head.fields.allSatisfy(\.neverIndexed))
  }

  /// A block of references to one big entry: counted, not stored; cut off where it has no measure.
  @Test func anHPACKBomb() throws {
    let entry = [UInt8(0x40), 1, 0x61, 0x7f, 0x81, 0x1e] + Array(repeating: UInt8(ascii: "v"), count: 127 + 3841)
    var decoder = HeaderDecoder()
    let (head, rules) = try Self.decode(entry + Array(repeating: 0xbe, count: 100), .trailers, with: &decoder)
    #expect(rules.isTooLarge)
    #expect(head.bytes.count <= 64 << 10)
    let error = #expect(throws: HTTP2Error.self) {
      _ = try Self.decode(Array(repeating: 0xbe, count: 10_000), .trailers, with: &decoder)
    }
    #expect(error?.code == .enhanceYourCalm)
  }

  @Test func cookiesAreJoined() throws {
    var decoder = HeaderDecoder()
    let block = Wire.block([("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3"), ("z", "")])
    let (head, _) = try Self.decode(block, .trailers, with: &decoder)
    #expect(Self.lines(head, .trailers) == ["cookie: a=1; b=2; c=3", "x: y", "z: "])
  }

  @Test func fieldsOfHTTP11AreLeftOut() throws {
    var encoder = HeaderEncoder()
    var decoder = HeaderDecoder()
    var head = Self.head([
      ("Host", "a:1"), ("Connection", "keep-alive"), ("Keep-Alive", "5"), ("Proxy-Connection", "x"),
      ("Transfer-Encoding", "chunked"), ("Upgrade", "h2c"), ("TE", "gzip"), ("te", "Trailers"), ("Accept", "*/*"),
    ])
    head.setMethod("DELETE".utf8)
    let (decoded, rules) = try Self.decode(Self.encode(head, .request, with: &encoder), .request, with: &decoder)
    #expect(!rules.isMalformed)
    #expect(
      Self.lines(decoded, .request) == [
        ":method: DELETE", ":scheme: http", ":path: /", ":authority: a:1", "te: Trailers", "accept: */*",
      ])
  }
}
