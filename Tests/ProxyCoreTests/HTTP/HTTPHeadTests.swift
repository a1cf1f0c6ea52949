import MeshModel
import Testing

@testable import ProxyCore

@Suite struct HTTPHeadTests {
  @Test func fieldsAreFoundByTheirNames() {
    var head = HTTPHead.request("/a?b=c", ["Accept": "1", "X-A": "2", "accept": "3", "X-Ab": "4"])
    #expect(head.index(of: "accept") == 1 && head.index(of: "accept", from: 2) == 3)
    #expect(head.index(of: "accept", from: 4) == nil && head.index(of: "x-") == nil)
    #expect(head.value("x-a") == "2" && head.value("x-abc") == nil)
    #expect(head.index(of: Array("x-ab".utf8)) == 4)
    // Only letters have cases: [ and { differ by the same bit.
    head.append("x[", "5")
    #expect(head.index(of: "x{") == nil && head.index(of: "x[") == 5)
    #expect(head.equals(head.method, "GET") && !head.equals(head.method, "get") && !head.equals(head.method, "GE"))
  }

  @Test func setReplacesTheFirstAndRemovesTheOthers() {
    var head = HTTPHead.request("/", ["X": "1", "Y": "2", "x": "3", "X": "4"])
    head.set("x", "new and longer")
    #expect(head.lines == ["Host: reviews", "X: new and longer", "Y: 2"])
    head.set("Z", "z")
    #expect(head.lines.last == "Z: z")
    head.remove("y".utf8)
    head.remove("none".utf8)
    #expect(head.lines == ["Host: reviews", "X: new and longer", "Z: z"])
    head.extend(field: 1, with: ", end".utf8)
    #expect(head.lines[1] == "X: new and longer, end")
  }

  @Test func theQueryIsWhatFollowsTheFirstMark() {
    for (path, pure, query) in [
      ("/a", "/a", ""), ("/a?", "/a", ""), ("/a?b=c", "/a", "b=c"), ("/a?b?c", "/a", "b?c"), ("?", "", ""),
      ("", "", ""),
    ] {
      let head = HTTPHead.request(path)
      #expect(head.text(head.pathWithoutQuery) == pure && head.text(head.query) == query, "\(path)")
    }
  }

  @Test func removeAllForgetsEverything() {
    var head = HTTPHead.request("/a", method: "POST", ["X": "1"])
    head.setStatus(200)
    head.setScheme("http".utf8)
    head.removeAll()
    #expect(head.fields.isEmpty && head.bytes.isEmpty && head.status == 0)
    #expect(head.method.isEmpty && head.path.isEmpty && head.authority.isEmpty && head.scheme.isEmpty)
  }

  // MARK: Cookies

  @Test func cookies() {
    for (fields, name, value) in [
      (["a=1"], "a", "1"), (["a=1; b=2"], "b", "2"), (["a=1;b=2"], "b", "2"), (["a=1;   b=2"], "b", "2"),
      (["a=\"quoted\"; b=2"], "a", "quoted"), (["a=\""], "a", "\""), (["a=\"x"], "a", "\"x"), (["a="], "a", ""),
      (["a=b=c"], "a", "b=c"), (["a=1; a=2"], "a", "1"), (["x=1", "a=3"], "a", "3"), (["aa=1; a=2"], "a", "2"),
      (["; ;a=1;"], "a", "1"), (["a=\"\""], "a", ""),
    ] {
      var head = HTTPHead.request("/")
      for field in fields { head.append("Cookie", field) }
      #expect(Cookies.value(name, in: head).map(head.text) == value, "\(fields)")
    }
    for fields in [[], [""], ["a"], ["A=1"], ["aa=1"], ["b=a=1"], [";"], ["=1"], [" "]] {
      var head = HTTPHead.request("/")
      for field in fields { head.append("Cookie", field) }
      #expect(Cookies.value("a", in: head) == nil, "\(fields)")
    }
  }

  /// Whatever a client sends, what is found lies inside of its field.
  @Test func cookiesOfRandomBytes() {
    var random = FastRandom(seed: 7)
    let alphabet = Array("a=;\" b".utf8)
    var found = 0
    for _ in 0..<5000 {
      let bytes = (0..<Int.random(in: 0...12, using: &random)).map { _ in alphabet.randomElement(using: &random)! }
      var head = HTTPHead()
      head.append(name: "cookie".utf8, value: bytes)
      guard let slice = Cookies.value("a", in: head) else { continue }
      found += 1
      let field = head.fields[0].value.range
      #expect(slice.range.lowerBound >= field.lowerBound && slice.range.upperBound <= field.upperBound)
      #expect(!head.bytes[slice.range].contains(UInt8(ascii: ";")))
    }
    #expect(found > 100)
  }

  // MARK: What the proxy adds

  private func prepared(
    _ head: HTTPHead, _ options: HeaderOptions, from ip: String = "10.1.2.3", version: HTTPVersion = .http11
  ) -> HTTPHead {
    var head = head
    var random = FastRandom(seed: 1)
    RequestHeaders.prepare(
      &head, clientAddress: SocketAddress(IPAddress(ip)!, 5), version: version, options: options, random: &random)
    return head
  }

  @Test func forwardingFields() {
    let all = HeaderOptions(forwardedFor: true, via: true, requestID: true)
    let added = prepared(.request("/"), all)
    #expect(added.value("x-forwarded-for") == "10.1.2.3" && added.value("x-forwarded-proto") == "http")
    #expect(added.value("via") == "1.1 weft")
    #expect(prepared(.request("/"), all, version: .http10).value("via") == "1.0 weft")
    #expect(prepared(.request("/"), all, version: .http2).value("via") == "2 weft")
    // What came before us stays, and stands first.
    let kept = prepared(
      .request(
        "/", ["X-Forwarded-For": "1.1.1.1", "X-Forwarded-Proto": "https", "X-Request-Id": "own", "Via": "1.1 x"]),
      all, from: "fd00::1")
    #expect(kept.value("x-forwarded-for") == "1.1.1.1, fd00::1" && kept.value("x-forwarded-proto") == "https")
    #expect(kept.value("x-request-id") == "own")
    #expect(kept.lines.filter { $0.lowercased().hasPrefix("via:") } == ["Via: 1.1 x", "via: 1.1 weft"])
    let nothing = HeaderOptions(forwardedFor: false, via: false, requestID: false)
    #expect(prepared(.request("/"), nothing).lines == ["Host: reviews"])
  }

  @Test func theClientsAddressIsTheLastOfAllForwardedFields() {
    var head = HTTPHead.request("/")
    head.append("X-Forwarded-For", "1.1.1.1")
    head.append("x-forwarded-for", "2.2.2.2")
    let added = prepared(head, HeaderOptions())
    #expect(
      added.lines.filter { $0.lowercased().hasPrefix("x-forwarded-for") } == [
        "X-Forwarded-For: 1.1.1.1", "x-forwarded-for: 2.2.2.2, 10.1.2.3",
      ])
  }

  @Test func connectionFieldsAndWhatTheyName() {
    var head = HTTPHead.request("/")
    head.append("X-Hop", "1")
    head.append("Connection", " x-hop ,Host, close,X-Absent")
    head.append("x-stays", "2")
    head.append("connection", "X-FORWARDED-FOR")
    head.append("X-Forwarded-For", "1.1.1.1")
    head.removeConnectionFields()
    #expect(head.lines == ["Host: reviews", "x-stays: 2"])
    // Nobody names away what is added after that.
    #expect(prepared(head, HeaderOptions()).value("x-forwarded-for") == "10.1.2.3")
  }

  @Test func requestIDsAreUUIDsOfVersion4() throws {
    var random = FastRandom(seed: 3)
    var seen: Set<String> = []
    for _ in 0..<1000 {
      let text = String(decoding: Array(UUIDText(&random)), as: UTF8.self)
      let parts = text.split(separator: "-")
      try #require(parts.map(\.count) == [8, 4, 4, 4, 12])
      #expect(text.allSatisfy { $0 == "-" || $0.isHexDigit && !$0.isUppercase })
      #expect(parts[2].first == "4" && "89ab".contains(parts[3].first!))
      seen.insert(text)
    }
    #expect(seen.count == 1000)
  }
}
