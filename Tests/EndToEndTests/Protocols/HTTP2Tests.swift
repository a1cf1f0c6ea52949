import Foundation
import Testing

extension EndToEnd.ProtocolTests {
  @Test("floods and bombs end their own connection by ENHANCE_YOUR_CALM, and no other's", arguments: places)
  func floods(place: String) throws {
    let floods = [
      "rapid_reset", "made_to_reset", "continuations", "empty_continuations", "settings", "pings", "priorities",
      "empty_data",
    ]
    for name in floods {
      let seen = try checks("http2.py", place, name)[name]
      #expect(seen["ended"].int == 11 && seen["bounded"].bool == true, "\(name): \(seen)")
      #expect(seen["others"].texts == ["whole", "whole"], "\(name): \(seen)")
      #expect(seen["meanwhile"].texts.allSatisfy { $0 == "whole" }, "\(name): \(seen)")
    }
    let seen = try checks("http2.py", place, "hpack_bomb", "unread")
    let bomb = seen["hpack_bomb"]
    #expect(bomb["first"]["end"].text == "whole" && bomb["bombs"].texts == ["None"], "\(bomb)")
    #expect(bomb["other"].text == "whole")
    // What was offered is 34 MB of PINGs.
    #expect(seen["unread"]["sent"].int ?? .max < 33_000_000 && seen["unread"]["other"].text == "whole", "\(seen)")
  }

  @Test("a malformed request ends its stream, a broken frame its connection", arguments: places)
  func malformed(place: String) throws {
    let seen = try checks("http2.py", place, "malformed", "broken_frames", "windows")
    var requests = seen["malformed"].members
    #expect(requests.removeValue(forKey: "next")?.text == "whole")
    #expect(requests.count >= 22)
    for (name, end) in requests { #expect(end.text == "reset 1", "\(name)") }
    var frames = seen["broken_frames"].members
    #expect(frames.removeValue(forKey: "other")?.text == "whole")
    // RFC 9113 §7: the code of each GOAWAY.
    let others = [
      "ping of 7": 6, "settings of 5": 6, "window overflow": 3, "bad table index": 9, "huge frame": 6,
      "initial window too large": 3,
    ]
    #expect(frames.count == 14)
    for (name, code) in frames { #expect(code.int == others[name] ?? 1, "\(name)") }
    #expect(seen["windows"]["count"].int == 1024 && "\(seen["windows"]["fault"])" == "null", "\(seen["windows"])")
  }

  @Test("a server's broken answer is its client's broken answer or 503, and nobody else's", arguments: places)
  func brokenAnswers(place: String) throws {
    var seen = try lab.facts("client", "protocols/answers2.py", place).members
    // The second is a request that the server said not to have seen: it is made again on another connection.
    for name in ["good", "away"] {
      let end = seen.removeValue(forKey: name) ?? .null
      #expect("\(end["1"])" == #"[200, "good"]"# && "\(end["2"])" == #"["88", "whole"]"#, "\(name): \(end)")
    }
    #expect(seen.count == 21)
    for (name, end) in seen {
      let hasBegun = ["shorter", "longer", "cut"].contains(name)
      #expect("\(end["1"])" == (hasBegun ? #""broken""# : "[503]"), "\(name)")
      // A head that isn't in the static table (RFC 7541, appendix A) as 200 is: 503.
      #expect("\(end["2"])" == (hasBegun ? #"["88", "reset 2"]"# : #"["08", "whole"]"#), "\(name)")
      #expect("\(end["next"])" == #"[200, "good"]"#, "behind \(name)")
    }
    guard place == "far" else { return }
    // Of some sixty connections those that are good are kept, one for each of the proxy's threads that had a client.
    let threads = ProcessInfo.processInfo.processorCount
    wait(5, for: "the end of the broken connections at the other node") {
      try lab.ask("b", "connections")["connections"].list.filter {
        $0["upstream_address"].text?.hasSuffix(":9112") == true
      }.count <= threads
    }
  }

  /// Its port says gRPC, or nothing.
  @Test(
    "gRPC of all four kinds: messages, statuses, metadata, deadlines and cancellations", arguments: places,
    ["87", "88"])
  func grpc(place: String, port: String) throws {
    let seen = try lab.facts("client", "protocols/grpc_client.py", place, port)
    let unary = seen["unary"]
    #expect(unary["answer"].text == "cba" && unary["code"].text == "OK")
    #expect("\(unary["initial"])" == #"[["x-initial", "first"]]"#)
    #expect("\(unary["trailing"])" == #"[["x-data-bin", "00ff"], ["x-trailing", "last"]]"#)
    #expect(seen["server stream"].bool == true && seen["both"].bool == true)
    #expect(seen["client stream"].text == "3000000")
    #expect(seen["large"].int == 16 << 20 && seen["empty"].int == 0 && seen["at once"].int == 300)
    let failed = seen["fail"]
    #expect(failed["code"].text == "FAILED_PRECONDITION" && failed["details"].text == "not now: 100% ü")
    #expect("\(failed["trailing"])" == #"[["x-why", "because"]]"#)
    #expect(seen["fail midway"]["code"].text == "DATA_LOSS" && seen["fail midway"]["got"].texts == ["one", "two"])
    #expect(seen["unknown"]["code"].text == "UNIMPLEMENTED", "\(seen["unknown"])")
    #expect(seen["deadline"]["code"].text == "DEADLINE_EXCEEDED", "\(seen["deadline"])")
    #expect(seen["deadline heard"].text == "yes" && seen["cancel heard"].text == "yes")
  }
}
