import Testing

@testable import MeshModel

@Suite struct IPAddressTests {
  @Test(
    arguments: [
      ("0.0.0.0", 0), ("127.0.0.1", 0x7f00_0001), ("255.255.255.255", 0xffff_ffff), ("10.244.1.2", 0x0af4_0102),
    ] as [(String, UInt32)])
  func dottedDecimal(text: String, value: UInt32) {
    #expect(IPAddress(text) == IPAddress(v4: value))
    #expect(IPAddress(v4: value).description == text)
    #expect(IPAddress(v4: value).v4 == value)
  }

  @Test(arguments: [
    "", ".", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.04", "1.2.3.-4", "1.2.3.+4", " 1.2.3.4", "1.2.3.4 ",
    "1.2.3.4\n", "1..3.4", "0x1.2.3.4", "1.2.3.4/8", "1.2.3.999999999999", "１.2.3.4", "1e1.2.3.4",
  ])
  func textThatIsNoIPv4Address(text: String) { #expect(IPAddress(text) == nil) }

  /// RFC 5952 §4: lower case, no leading zeros, the longest run of zeros (the first of equals) shortened, one zero not.
  @Test(arguments: [
    ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("0:0:0:0:0:0:0:0", "::"), ("2001:0DB8::0001", "2001:db8::1"),
    ("2001:db8:0:0:0:0:2:1", "2001:db8::2:1"), ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
    ("2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
    ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
    ("0:0:1:2:3:4:5:6", "::1:2:3:4:5:6"), ("1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
    ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"), ("64:ff9b::192.0.2.1", "64:ff9b::c000:201"),
    ("fd00:244:1::2", "fd00:244:1::2"),
  ])
  func canonicalIPv6(text: String, canonical: String) throws {
    let address = try #require(IPAddress(text))
    #expect(address.family == .v6)
    #expect(address.description == canonical)
    #expect(IPAddress(canonical) == address)
    #expect(IPAddress(bytes: address.bytes) == address)
  }

  @Test(arguments: [
    ":", ":::", "1:", ":1", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8",
    "12345::", "g::", "+1::", "-1::", "::1.2.3", "::1.2.3.4.5", "1.2.3.4::", "::1.2.3.4:5", "fe80::1%eth0", "[::1]",
    "::1 ", "1:2:3:4:5:6:7:1.2.3.4", ":1::", "1::2:",
  ])
  func textThatIsNoIPv6Address(text: String) { #expect(IPAddress(text) == nil) }

  @Test func mappedAddressesAreIPv4() {
    let plain = IPAddress("10.0.0.1")!
    #expect(IPAddress("::ffff:10.0.0.1") == plain)
    #expect(IPAddress("::ffff:a00:1") == plain)
    #expect(IPAddress(v6High: 0, v6Low: 0xffff_0a00_0001) == plain)
    #expect(IPAddress(bytes: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1]) == plain)
    #expect(IPAddress("::10.0.0.1")?.family == .v6)
    #expect(plain.bytes == [10, 0, 0, 1])
  }

  @Test func kinds() {
    #expect(IPAddress("127.5.6.7")!.isLoopback && IPAddress("::1")!.isLoopback)
    #expect(!IPAddress("128.0.0.1")!.isLoopback && !IPAddress("::2")!.isLoopback && !IPAddress("1::1")!.isLoopback)
    #expect(IPAddress("0.0.0.0")!.isUnspecified && IPAddress("::")!.isUnspecified)
    #expect(IPAddress("::")! != IPAddress("0.0.0.0")!)
    for count in [0, 3, 5, 15, 17] { #expect(IPAddress(bytes: Array(repeating: 1, count: count)) == nil) }
  }

  @Test func everyAddressComesBackFromItsText() {
    var state: UInt64 = 42
    func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state
    }
    for _ in 0..<5000 {
      // Zeros in many places: where the shortening happens.
      let mask = (0..<8).reduce(UInt64(0)) { all, word in next() >> 63 == 0 ? all : all | 0xff << (8 * UInt64(word)) }
      let address = IPAddress(v6High: next() & mask, v6Low: next() & ~mask)
      #expect(IPAddress(address.description) == address)
      let v4 = IPAddress(v4: UInt32(truncatingIfNeeded: next() >> 16))
      #expect(IPAddress(v4.description) == v4)
    }
  }
}

@Suite struct SocketAddressTests {
  @Test(arguments: ["10.0.0.1:80", "[fd00::1]:65535", "[::]:1", "0.0.0.0:0"]) func roundTrip(text: String) {
    #expect(SocketAddress(text)?.description == text)
  }

  @Test(arguments: [
    "", ":", ":80", "10.0.0.1", "10.0.0.1:", "10.0.0.1:-1", "10.0.0.1:+1", "10.0.0.1:65536", "10.0.0.1:80a",
    "10.0.0.1: 80",
    "fd00::1:80", "[fd00::1]", "[fd00::1]80", "fd00::1]:80", "[10.0.0.1]:80", "[]:80", "[[::1]]:80", "localhost:80",
    "10.0.0.1:8０",
  ])
  func textThatIsNone(text: String) { #expect(SocketAddress(text) == nil) }

  @Test func aMappedAddressIsWrittenAsIPv4() {
    #expect(SocketAddress("[::ffff:10.0.0.1]:80")?.description == "10.0.0.1:80")
  }
}
