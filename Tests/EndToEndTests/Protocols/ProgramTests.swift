import Testing

/// The programs that people use, as they are.
extension EndToEnd.ProtocolTests {
  @Test("curl with each version of HTTP, and nginx, HAProxy, nghttpd and Python's http.server", arguments: places)
  func curl(place: String) throws {
    func curl(_ version: String, _ port: Int, _ path: String) throws -> String {
      try run(
        "curl", "--silent", "--max-time", "8", "--\(version)", "--write-out", " %{http_version} %{response_code}",
        "http://\(place):\(port)\(path)")
    }
    for version in ["http1.0", "http1.1"] {
      // A server of HTTP/1.1 says so to a client of HTTP/1.0 too (RFC 9110 §6.2).
      let said = "1.1 200"
      #expect(try curl(version, 82, "/a?b") == "nginx GET /a?b \(place):82 HTTP/1.1\n \(said)", "\(version)")
      #expect(try curl(version, 83, "/echo").hasSuffix(" \(said)"), "HAProxy, \(version)")
      let page = try curl(version, 86, "/1k")
      #expect(page.hasPrefix("weft weft") && page.hasSuffix(" \(said)"), "http.server, \(version)")
      // To a server of HTTP/2 alone.
      #expect(try curl(version, 84, "/") == "<p>nghttpd</p>\n \(said)", "nghttpd, \(version)")
      // A port that says nothing.
      #expect(try curl(version, 81, "/echo").hasSuffix(" \(said)"), "sniffed, \(version)")
    }
    for port in [84, 85] {
      #expect(try curl("http2-prior-knowledge", port, "/") == "<p>nghttpd</p>\n 2 200")
      let missing = try curl("http2-prior-knowledge", port, "/none")
      #expect(missing.hasSuffix(" 2 404"), "\(missing)")
    }
    // Each has a word for what isn't there, and none is the mesh's.
    #expect(try curl("http1.1", 86, "/none").hasSuffix(" 1.1 404"))
    #expect(try curl("http1.1", 84, "/none").hasSuffix(" 1.1 404"))
    let head = try run(
      "curl", "--silent", "--max-time", "8", "--head", "http://\(place):84/1k", "http://\(place):84/1k")
    #expect(head.components(separatedBy: "content-length: 1024\r\n").count == 3, "\(head)")
  }

  @Test("h2load and nghttp: every request is answered, trailers come through", arguments: places)
  func nghttp2(place: String) throws {
    // Python's http.server sends head and body apart: each waits for an acknowledgement.
    for (count, arguments) in [
      (2000, ["-m", "50", "http://\(place):84/1k"]), (2000, ["-m", "50", "http://\(place):85/1k"]),
      (2000, ["--h1", "-m", "1", "http://\(place):82/1k"]), (100, ["--h1", "-m", "4", "http://\(place):86/1k"]),
    ] {
      let command = ["h2load", "-n", "\(count)", "-c", "4"] + arguments
      let done = try lab.exec("client", command, timeout: 30)
      #expect(done.output.contains("\(count) succeeded, 0 failed, 0 errored, 0 timeout"), "\(command): \(done.output)")
      #expect(done.output.contains("\(count) 2xx, 0 3xx, 0 4xx, 0 5xx"), "\(command): \(done.output)")
    }
    for port in [84, 85] {
      let seen = try run("nghttp", "--verbose", "http://\(place):\(port)/1k")
      #expect(seen.contains(":status: 200") && seen.contains("x-end: yes"), "\(seen)")
    }
  }

  @Test("a WebSocket: messages of every size, both ways, and the codes of its end", arguments: places)
  func webSocket(place: String) throws {
    let seen = try lab.facts("client", "protocols/websocket_client.py", place, "89")
    #expect(seen["hello"].text == "hello /room?a=b" && seen["subprotocol"].text == "chat")
    #expect(seen["good"].int == 8 && seen["order"].bool == true && seen["pong"].bool == true)
    #expect(seen["code"].int == 4001)
  }

  @Test("a server that speaks first is heard within 100 ms, and what follows is as it was sent", arguments: places)
  func serverFirst(place: String) throws {
    let seen = try lab.facts("client", "protocols/lines.py", place)
    let answers = "250 EHLO client\r\n250 GET / HTTP/1.1\r\n250 \u{16}\u{3}\u{1} no TLS\r\n250 QUIT\r\n221 bye\r\n"
    for (name, bound) in [("smtp", 130), ("mysql", 130), ("declared", 50)] {
      // A port that says TCP isn't delayed at all. The bounds have room for a machine with other work.
      #expect(seen[name]["milliseconds"].int ?? .max < bound, "\(name): \(seen[name])")
      #expect(seen[name]["answers"].text == answers, "\(name): half-closed, and answered to the end")
    }
    #expect(seen["smtp"]["greeting"].text == "220 \(place) ESMTP\r\n")
    #expect(seen["mysql"]["greeting"].text?.hasPrefix("J\0\0\0\n8.0.36\0") == true)
  }

  @Test("TLS passes through, and a TLSRoute leads by the server's name")
  func tls() throws {
    for place in Self.places {
      // The port says TLS, or nothing.
      for port in ["443", "444"] {
        let seen = try lab.facts("client", "protocols/tls.py", place, port, "any.example", "-")
        #expect(seen["any.example"].text == "\(place).example" && seen["-"].text == "\(place).example", "\(seen)")
      }
    }
    let seen = try lab.facts(
      "client", "protocols/tls.py", "split", "443", "near.example", "far.example", "FAR.example", "other.example", "-")
    #expect(seen["near.example"].text == "near.example")
    #expect(seen["far.example"].text == "far.example" && seen["FAR.example"].text == "far.example", "\(seen)")
    #expect(seen["other.example"].text == "none" && seen["-"].text == "none", "what no route takes: \(seen)")
  }

  @Test("a TCPRoute's weights are the shares of its backends")
  func weights() throws {
    let seen = try lab.facts("client", "protocols/shares.py", "split", "90", "400")
    let near = seen["near"].int ?? 0
    let far = seen["far"].int ?? 0
    #expect(near + far == 400)
    // 3 to 1, six standard deviations.
    #expect((248...352).contains(near), "\(seen)")
  }
}
