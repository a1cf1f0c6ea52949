import Testing

extension EndToEnd.ProtocolTests {
  @Test(
    "order, case and repetition of fields are kept, both ways; what is of one connection stays there", arguments: places
  )
  func fields(place: String) throws {
    let seen = try checks("http1.py", place, "order", "targets")
    let order = seen["order"]
    #expect(order["line"].text == "GET /echo?x=%2F&y HTTP/1.1")
    #expect(
      "\(order["sent"])" == """
        [["X-ZULU", "1"], ["hOsT", "app.example"], ["aLPHA", "b,  c"], ["X-ZULU", "2"], ["Cookie", "a=1; b=2"], \
        ["Empty", ""]]
        """)
    #expect("\(order["returned"])" == #"[["X-Zebra", "1"], ["x-aLpHa", "2"], ["X-Zebra", "3"]]"#)
    #expect(order["dropped"].list.isEmpty, "\(order)")
    #expect(order["added"].texts == ["x-forwarded-for", "x-forwarded-proto", "x-request-id"])

    let targets = seen["targets"].members.mapValues(\.texts)
    // RFC 9112 §3.2.2: the target's authority replaces what the Host field says.
    #expect(targets["absolute"] == ["GET /echo?q=1 HTTP/1.1", "app.example"])
    #expect(targets["absolute with no path"] == ["GET / HTTP/1.1", "app.example"])
    #expect(targets["absolute with port"] == ["GET /echo HTTP/1.1", "app.example:80"])
    #expect(targets["asterisk"] == ["OPTIONS * HTTP/1.1", "app.example"])
    #expect(targets["absolute asterisk"] == ["OPTIONS * HTTP/1.1", "app.example"])
    #expect(targets["dots"] == ["GET /a/../b//c/./d HTTP/1.1", "app.example"])
    #expect(targets["encoded"] == ["GET /%7Ea%2Fb?c=%20&d HTTP/1.1", "app.example"])
  }

  @Test("messages end where they say, however they are cut or strung together", arguments: places)
  func framing(place: String) throws {
    let seen = try checks("http1.py", place, "pipelined", "halves", "trailers", "bodiless", "early", "last_words")
    #expect(seen["pipelined"]["good"].int == 300, "\(seen["pipelined"])")
    #expect(seen["halves"]["good"].int == 80 && seen["halves"]["count"].int == 80, "\(seen["halves"])")
    let trailers = seen["trailers"]
    #expect(trailers["count"].int == 6 && trailers["body"].text == "hello world", "\(trailers)")
    #expect("\(trailers["up"])" == #"[["X-Sum", "6"], ["X-MORE", "Yes"]]"#)
    #expect("\(trailers["down"])" == #"[["X-Sum", "11"], ["X-Other", "Yes"]]"#)
    let bodiless = seen["bodiless"]
    #expect("\(bodiless["HEAD"])" == #"[200, [["Content-Length", "12345"], ["X-Of", "head"]]]"#)
    #expect("\(bodiless["204"])" == #"[204, [["X-Kept", "1"]]]"#)
    #expect("\(bodiless["304"])" == #"[304, [["Content-Length", "77"], ["ETag", "\"a\""]]]"#)
    #expect("\(bodiless["103"])" == #"[103, [["Link", "</a>; rel=preload"]], "hinted"]"#)
    for name in ["HEAD", "204", "304"] { #expect(bodiless["\(name) goes on"].int == 200, "\(bodiless)") }
    #expect(seen["early"]["status"].int == 403 && seen["early"]["closes"].bool == true, "\(seen["early"])")
    #expect("\(seen["last_words"])" == #"[[200, "end"], [200, "end"], [200, "end"]]"#)
  }

  @Test(
    "100-continue is the server's; CONNECT and upgrades become streams of bytes; HTTP/1.0 is served", arguments: places)
  func versionsAndUpgrades(place: String) throws {
    let seen = try checks("http1.py", place, "continues", "connects", "old")
    let continues = seen["continues"]
    #expect(continues["first"].int == 100 && continues["waited"].bool == true && continues["count"].int == 5)
    #expect(continues["refused"].int == 417 && continues["refused closes"].bool == true, "\(continues)")
    for (name, status) in [("connect", 200), ("upgrade", 101)] {
      let end = seen["connects"][name]
      #expect(end["status"].int == status && end["echoed"].bool == true && end["rest"].text == "<end>", "\(end)")
    }
    #expect("\(seen["connects"]["no upgrade"])" == "[200, 200]")
    let old = seen["old"]
    #expect("\(old["plain"])" == #"[200, "GET /echo HTTP/1.1", "end"]"#)
    #expect("\(old["kept"])" == #"[200, "GET /echo HTTP/1.1", "open"]"#)
    #expect("\(old["unchunked"])" == #"["close", "hello world"]"#)
    #expect("\(old["server"])" == #"["chunked", "until the end"]"#)
    #expect(old["server goes on"].int == 200)
  }

  @Test("heads beyond the bounds are refused by 431 and 414, and the connection closed", arguments: places)
  func bounds(place: String) throws {
    let seen = try checks("http1.py", place, "bounds")["bounds"]
    for name in ["head", "one field", "fields"] { #expect("\(seen[name])" == #"[431, true, "end"]"#, "\(name)") }
    #expect("\(seen["target"])" == #"[414, true, "end"]"#)
    #expect(seen["fits"].int == 50_000)
  }

  /// RFC 9112 §6.1 and RFC 9110 §15.6.6 have statuses of their own for these.
  private static let otherStatus = ["identity": 501, "unknown encoding": 501, "version 2": 505]

  @Test("no shape of request smuggling is forwarded: 400, and the connection closed", arguments: places)
  func smuggling(place: String) throws {
    let seen = try checks("smuggle.py", place)
    #expect(seen["heads"].members.count >= 45 && seen["bodies"].members.count >= 17)
    for (name, end) in seen["heads"].members {
      #expect("\(end)" == "[\(Self.otherStatus[name] ?? 400), \"end\"]", "\(name)")
    }
    for (name, end) in seen["bodies"].members { #expect("\(end)" == #"[400, "end"]"#, "\(name)") }
    #expect(seen["reached"].text == "", "no byte of a head that was refused")
    #expect(seen["hidden"].bool == false)
    #expect(seen["goes on"].int == 200)
  }

  @Test(
    "ten thousand requests on one connection; no GET fails by a server's closing of idle connections", arguments: places
  )
  func persistence(place: String) throws {
    let seen = try checks("http1.py", place, "many", "idle_closed")
    #expect(seen["many"]["good"].int == 10_000 && seen["many"]["closed"].bool == false, "\(seen["many"])")
    #expect(seen["idle_closed"]["good"].int == 120, "\(seen["idle_closed"])")
  }

  @Test("who dies or leaves in the middle is seen by the other side, as what it is", arguments: places)
  func broken(place: String) throws {
    let seen = try checks("http1.py", place, "dying", "leaving", "bad_answers")
    #expect(seen["dying"].members.count == 4)
    for (name, end) in seen["dying"].members { #expect(end.text == "broken", "\(name)") }
    for name in ["drip", "big", "hold", "rest"] { #expect(seen["leaving"][name].bool == true, "\(seen["leaving"])") }
    #expect(seen["bad_answers"].list.count == 11)
    for (shape, end) in seen["bad_answers"].list.enumerated() { #expect("\(end)" == "[502, 200]", "shape \(shape)") }
  }
}
