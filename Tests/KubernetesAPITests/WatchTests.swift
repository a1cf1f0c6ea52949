import Testing

@testable import KubernetesAPI

@Suite struct WatchTests {
  private static let event =
    #"{"type":"ADDED","object":{"metadata":{"name":"a","namespace":"n","resourceVersion":"7","managedFields":[{}]}}}"#

  @Test func linesInAnyPieces() throws {
    let stream = Array("first\n\nsecond\nthird".utf8)
    for first in 0...stream.count {
      for second in first...stream.count {
        var splitter = LineSplitter()
        var lines: [[UInt8]] = []
        for piece in [stream[..<first], stream[first..<second], stream[second...]] {
          lines += try splitter.lines(in: piece)
        }
        #expect(lines == [Array("first".utf8), Array("second".utf8)])
        #expect(try splitter.lines(in: "\n".utf8) == [Array("third".utf8)])
      }
    }
  }

  @Test func aLineIsBounded() throws {
    var splitter = LineSplitter()
    let half = [UInt8](repeating: 0x61, count: LineSplitter.maximumBytes / 2)
    #expect(try splitter.lines(in: half).isEmpty && splitter.lines(in: half).isEmpty)
    #expect(throws: KubernetesError.self) { try splitter.lines(in: "b".utf8) }
    var other = LineSplitter()
    #expect(throws: KubernetesError.self) { try other.lines(in: half + half + Array("bc\n".utf8)) }
  }

  @Test func events() throws {
    guard case .changed(let object) = try WatchEvent(line: Array(Self.event.utf8)) else { return #expect(Bool(false)) }
    #expect(object.name == "a" && object.namespace == "n" && object.resourceVersion == "7")
    #expect(object.content["metadata"]?["managedFields"] == nil)
    func event(_ text: String) throws -> WatchEvent { try WatchEvent(line: Array(text.utf8)) }
    #expect(
      try event(#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}"#) == .bookmark("9"))
    #expect(try event(#"{"type":"ERROR","object":{"code":410,"message":"too old"}}"#) == .failed(.gone))
    #expect(
      try event(#"{"type":"ERROR","object":{"code":500,"message":"no"}}"#) == .failed(.failed(500, "no")))
    for text in [
      "", "[]", "{}", #"{"type":"ADDED"}"#, #"{"type":"NEW","object":{}}"#,
      #"{"type":"ADDED","object":{"metadata":{}}}"#,
      #"{"type":"BOOKMARK","object":{}}"#, Self.event + "x",
    ] {
      #expect(throws: KubernetesError.self) { try event(text) }
    }
  }

  @Test func anErrorIsReadWhateverIsSelected() throws {
    let line = Array(#"{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}"#.utf8)
    #expect(try WatchEvent(line: line, reading: ["metadata": ["name": .all]]) == .failed(.gone))
  }

  @Test func pages() throws {
    let body =
      #"{"metadata":{"resourceVersion":"5","continue":"next"},"items":[{"metadata":{"name":"a","resourceVersion":"1"}}]}"#
    let page = try ObjectPage(body: Array(body.utf8))
    #expect(page.objects.map(\.name) == ["a"] && page.resourceVersion == "5" && page.next == "next")
    for body in ["", "{}", #"{"metadata":{"resourceVersion":"5"}}"#, #"{"items":[],"metadata":{}}"#, "<html>"] {
      #expect(throws: KubernetesError.self) { try ObjectPage(body: Array(body.utf8)) }
    }
  }

  @Test func statuses() {
    func error(_ status: Int, _ body: String = #"{"message":"why"}"#, after: Int? = nil) -> KubernetesError {
      KubernetesError(status: status, body: Array(body.utf8), retryAfter: after)
    }
    #expect(error(401) == .refused(401, "why") && error(403) == .refused(403, "why"))
    #expect(error(404) == .notFound("why") && error(409) == .conflict("why") && error(410) == .gone)
    #expect(error(429) == .throttled(after: 1) && error(429, after: 7) == .throttled(after: 7))
    #expect(error(503, after: 3) == .throttled(after: 3) && error(503) == .failed(503, "why"))
    #expect(error(429, after: 100_000) == .throttled(after: 300))
    #expect(error(500, "<html>oh") == .failed(500, "<html>oh"))
  }

  @Test func queriesAreEscaped() {
    #expect(KubernetesClient.escaped("eyJ2I+/=&a b~é") == "eyJ2I%2B%2F%3D%26a%20b~%C3%A9")
  }
}
