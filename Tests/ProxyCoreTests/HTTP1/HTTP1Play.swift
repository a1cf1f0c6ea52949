@testable import ProxyCore

/// Plays bytes to a reader in pieces and writes down what it tells; adjacent pieces of a body count as one.
struct HTTP1Play {
  var log: [String] = []
  private var body: [UInt8] = []
  var reader: HTTP1Reader

  init(_ reader: HTTP1Reader) { self.reader = reader }

  /// The log of all events. A failure is the last line, like `error 400`.
  static func requests(
    _ text: String, cuts: [Int] = [], ends: Bool = false, limits: HTTP1Limits = HTTP1Limits()
  ) -> [String] {
    var play = HTTP1Play(HTTP1Reader(.request, limits: limits))
    play.feed(Array(text.utf8), cuts: cuts, ends: ends)
    return play.log
  }

  static func responses(
    _ text: String, cuts: [Int] = [], toHead: Bool = false, toConnect: Bool = false, toUpgrade: Bool = false,
    ends: Bool = false
  ) -> [String] {
    var play = HTTP1Play(HTTP1Reader(.response))
    play.reader.expectResponse(toHead: toHead, toConnect: toConnect, toUpgrade: toUpgrade)
    play.feed(Array(text.utf8), cuts: cuts, ends: ends)
    return play.log
  }

  mutating func feed(_ bytes: [UInt8], cuts: [Int] = [], ends: Bool = false) {
    do throws(HTTP1Error) {
      var start = 0
      for cut in cuts + [bytes.count] {
        // Each piece in storage of its own: nothing may refer to the last one.
        let piece = Array(bytes[start..<cut])
        start = cut
        try feed(piece)
      }
      if ends, let event = try reader.ended() { note(event) }
      flush()
    } catch {
      flush()
      log.append("error \(error.status)")
    }
  }

  private mutating func feed(_ piece: [UInt8]) throws(HTTP1Error) {
    let result = piece.withUnsafeBytes { buffer -> Result<Void, HTTP1Error> in
      var rest = buffer
      do throws(HTTP1Error) {
        while let event = try reader.next(from: &rest) { note(event) }
        if !rest.isEmpty { log.append("left \(rest.count) bytes") }
        return .success(())
      } catch {
        return .failure(error)
      }
    }
    try result.get()
  }

  private mutating func flush() {
    if !body.isEmpty { log.append("body " + String(decoding: body, as: UTF8.self)) }
    body = []
  }

  private mutating func note(_ event: HTTP1Reader.Event) {
    switch event {
    case .head:
      flush()
      log.append(describe())
    case .body(let piece): body += piece
    case .end:
      flush()
      let trailers = reader.trailers.fields.map {
        " " + reader.trailers.text($0.name) + "=" + reader.trailers.text($0.value)
      }
      log.append("end" + trailers.joined())
    }
  }

  private func describe() -> String {
    let head = reader.head
    let start =
      reader.role == .request
      ? "\(head.text(head.method)) \(head.text(head.scheme))|\(head.text(head.authority))|\(head.text(head.path))"
      : "\(head.status)"
    var flags = "\(reader.framing)" + (reader.isKeepAlive ? "" : " close") + (reader.minorVersion == 1 ? "" : " 1.0")
    if reader.upgrade { flags += " upgrade" }
    if reader.expectsContinue { flags += " continue" }
    if reader.isTunnel { flags += " tunnel" }
    if reader.isInformational { flags += " informational" }
    let fields = head.fields.map { " \(head.text($0.name))=\(head.text($0.value))" }
    return "\(start) (\(flags))\(fields.joined())"
  }
}
