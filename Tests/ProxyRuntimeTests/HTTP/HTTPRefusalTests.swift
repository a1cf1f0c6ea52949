import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// What the connections' codecs refuse, and what they say of themselves on the way.
  @Suite struct HTTPRefusalTests {
    private func isLogged(_ lab: HTTPLab, _ line: String) -> Bool {
      eventually { lab.node.log.contains { $0.hasSuffix("shop/a to shop/web:80: \(line)") } }
    }

    @Test(arguments: [
      ("GET / HTTP/1.1\r\n\r\n", 400, "no Host field"),
      ("GET /\(String(repeating: "a", count: 20_000)) HTTP/1.1\r\n", 414, "the start line is too long"),
      ("GET / HTTP/1.1\r\nHost: a\r\na: \(String(repeating: "a", count: 70_000))", 431, "the head is too long"),
      (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501,
        "a transfer coding other than chunked"
      ), ("GET / HTTP/2.0\r\n\r\n", 505, "a version other than HTTP/1.0 and HTTP/1.1"),
    ])
    func whatIsNoRequestIsAnsweredWithItsFlag(text: String, status: Int, reason: String) throws {
      for saysWhy in [true, false] {
        let lab = try HTTPLab(policies: [.web { if !saysWhy { $0.headers = nil } }])
        let client = try lab.connect()
        try client.write(text)
        let answer = try client.read()
        #expect(answer.status == status && answer["weft-reason"] == (saysWhy ? "DPE: \(reason)" : nil))
        #expect(answer["connection"] == "close")
        #expect(try client.readToEnd() == [])
        #expect(isLogged(lab, "\(status) DPE: \(reason)"))
        #expect(try lab.node.on { $0.statistics.localReplies } == 1)
        client.close()
        try lab.finish()
      }
    }

    /// No stream of HTTP/2 becomes a tunnel: its client must not wait for what can't come.
    @Test func aCONNECTToAPortOfHTTP2IsRefused() throws {
      let lab = try HTTPLab(speaking: "kubernetes.io/h2c", policies: [.web { _ in }])
      let client = try lab.connect()
      try client.write("CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n")
      let answer = try client.read()
      #expect(answer.isRefusal(501, "NR"))
      #expect(isLogged(lab, "501 NR: CONNECT is not served over HTTP/2"))
      client.close()
      try lab.finish()
    }

    /// The request before says nothing about the one that can't be read.
    @Test func aRefusalBehindAHEADIsFramed() throws {
      let lab = try HTTPLab(policies: [.web { _ in }])
      let client = try lab.connect()
      try client.write("HEAD / HTTP/1.1\r\nHost: web\r\n\r\n")
      let backend = try lab.accept()
      _ = try backend.read()
      try backend.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
      _ = try client.read(toHead: true)
      try client.write("no request\r\n\r\n")
      let answer = try client.read()
      #expect(answer.status == 400 && answer.values("content-length") == ["0"])
      #expect(answer["weft-reason"]?.hasPrefix("DPE: ") == true)
      #expect(try client.readToEnd() == [])
      client.close()
      try lab.finish()
    }

    /// Of a broken body the request is known: its answer may have content, its upstream is let go.
    @Test func aBrokenBodyIsRefused() throws {
      let lab = try HTTPLab(policies: [.web { $0.circuitBreaker = CircuitBreaker(maxConnections: 1) }])
      let client = try lab.connect()
      try client.write("POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
      let backend = try lab.accept()
      _ = try backend.readHead()
      #expect(try backend.take(8) == Array("3\r\nabc\r\n".utf8))
      try client.write("x\r\n")
      let answer = try client.read()
      #expect(answer.status == 400 && answer["weft-reason"] == "DPE: an invalid chunk size")
      #expect(answer.text == "an invalid chunk size" && answer["connection"] == "close")
      #expect(try client.readToEnd() == [])
      #expect(try eventually { try lab.count(.connections) == 0 })
      client.close()
      try lab.finish()
    }

    @Test(arguments: [true, false]) func largeHeadsOverHTTP2(isGRPC: Bool) throws {
      let lab = try HTTPLab(policies: [.web { _ in }])
      let client = try HTTP2Talker(lab.connect(), .client)
      var lines = (0..<201).map { "x\($0): y" }
      if isGRPC { lines.insert("content-type: application/grpc", at: 0) }
      for end in [true, false] {
        let answer = try client.answer(to: client.request("POST", "/s/m", lines, end: end))
        #expect(answer["weft-reason"] == "DPE: the head is too large")
        if isGRPC {
          #expect(answer.status == 200 && answer.wasHeadOnly && answer["grpc-status"] == "2")
          #expect(answer["grpc-message"] == "the head is too large")
        } else {
          #expect(answer.status == 431 && answer.text == "the head is too large")
        }
      }
      #expect(isLogged(lab, "431 DPE: the head is too large"))
      #expect(try lab.node.on { $0.statistics.localReplies } == 2)
      // The connection goes on.
      let id = try client.request()
      let backend = try HTTP2Talker(lab.accept(), .server)
      try backend.respond(try backend.nextRequest(), body: "fine")
      #expect(try client.answer(to: id).text == "fine")
      client.peer.close()
      try lab.finish()
    }

    @Test func aTunnelThroughARequestIsNotServed() throws {
      let lab = try HTTPLab(policies: [.web { _ in }])
      let client = try HTTP2Talker(lab.connect(), .client)
      let answer = try client.answer(to: client.request("CONNECT", "/", end: false))
      #expect(answer.status == 501 && answer["weft-reason"] == "NR: CONNECT is not served")
      #expect(isLogged(lab, "501 NR: CONNECT is not served"))
      #expect(try lab.node.on { $0.statistics.localReplies } == 1)
      client.peer.close()
      try lab.finish()
    }

    /// An injected gRPC status is a refusal like others.
    @Test func anInjectedStatusSaysWhy() throws {
      let lab = try HTTPLab(speaking: "grpc", policies: [.web { $0.faults = [Fault(effect: .abortGRPC(9))] }])
      let client = try HTTP2Talker(lab.connect(), .client)
      let answer = try client.answer(to: client.request("POST", "/s/m", ["content-type: application/grpc"]))
      #expect(answer.status == 200 && answer.wasHeadOnly && answer["grpc-status"] == "9")
      #expect(answer["weft-reason"] == "FI: aborted by fault injection")
      #expect(isLogged(lab, "200 FI: aborted by fault injection"))
      client.peer.close()
      try lab.finish()
    }

    // MARK: Via

    /// Each message says the version that it came in (RFC 9110 §7.6.3).
    @Test(arguments: ["1.0", "1.1"]) func viaOfHTTP1(version: String) throws {
      let lab = try HTTPLab(policies: [.web { $0.headers = HeaderOptions(via: true) }])
      let client = try lab.connect()
      try client.write("GET / HTTP/\(version)\r\nHost: web\r\nVia: 1.1 edge\r\n\r\n")
      let backend = try lab.accept()
      #expect(try backend.read().values("via") == ["1.1 edge", "\(version) weft"])
      // The other version, so that neither is taken for the other.
      let other = version == "1.0" ? "1.1" : "1.0"
      try backend.write("HTTP/\(other) 200 OK\r\nContent-Length: 1\r\n\r\nx")
      #expect(try client.read().values("via") == ["\(other) weft"])
      client.close()
      try lab.finish()
    }

    @Test(arguments: [true, false]) func viaOfHTTP2(isFromClient: Bool) throws {
      let lab = try HTTPLab(
        speaking: isFromClient ? "http" : "kubernetes.io/h2c",
        policies: [.web { $0.headers = HeaderOptions(via: true) }])
      let peer = try lab.connect()
      let client = isFromClient ? try HTTP2Talker(peer, .client) : nil
      let id = try client?.request()
      if client == nil { try peer.get() }
      let backend = try HTTP2Talker(lab.accept(), .server)
      let stream = try backend.nextRequest()
      #expect(backend.messages[stream]?["via"] == (isFromClient ? "2 weft" : "1.1 weft"))
      try backend.respond(stream, body: "x")
      if let client, let id {
        #expect(try client.answer(to: id)["via"] == "2 weft")
      } else {
        #expect(try peer.read().values("via") == ["2 weft"])
      }
      peer.close()
      try lab.finish()
    }
  }
}
