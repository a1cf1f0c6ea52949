import NIOCore

/// What the application sends. Calls for a stream that is gone, or out of turn, do nothing.
extension HTTP2Connection {
  /// Client: opens a stream; nil where `acceptsStreams` is false. Fields that are of an HTTP/1.1 connection only are left
  /// out and names written in lower case; the fields that `Connection` names have to be gone.
  public mutating func open(_ head: HTTPHead, end: Bool, into out: inout ByteBuffer) -> UInt32? {
    guard acceptsStreams else {
      isStarved = role == .client && !isDraining
      return nil
    }
    let id = nextStream
    nextStream += 2
    var stream = Stream(id: id, sendWindow: peerInitialWindow, receiveWindow: limits.streamWindow)
    stream.headSent = true
    stream.localEnded = end
    stream.isHead = head.equals(head.method, "HEAD")
    stream.isConnect = head.equals(head.method, "CONNECT")
    streams.insert(stream)
    writeHead(head, as: .request, stream: id, end: end, into: &out)
    return id
  }

  /// Server: an informational head, any number of times, or the final one, once.
  public mutating func respond(_ head: HTTPHead, stream id: UInt32, end: Bool, into out: inout ByteBuffer) {
    guard role == .server, let index = streams.index(of: id), !streams[index].headSent else { return }
    let isFinal = head.status >= 200
    streams[index].headSent = isFinal
    writeHead(head, as: .response, stream: id, end: isFinal && end, into: &out)
    if isFinal {
      if !streams[index].isWasted { answered() }
      if end { localEnded(at: index) }
    }
  }

  /// Ends the sending with trailers.
  public mutating func sendTrailers(_ head: HTTPHead, stream id: UInt32, into out: inout ByteBuffer) {
    guard let index = sendingIndex(of: id) else { return }
    writeHead(head, as: .trailers, stream: id, end: true, into: &out)
    localEnded(at: index)
  }

  /// Frames as much of `bytes` as the windows allow, and says how much that was. `end`: the sending ends if it was all.
  public mutating func send(
    _ bytes: UnsafeRawBufferPointer, stream id: UInt32, end: Bool, into out: inout ByteBuffer
  ) -> Int {
    guard let index = sendingIndex(of: id) else { return bytes.count }
    let allowed = max(0, min(bytes.count, streams[index].sendWindow, sendWindow))
    let ends = end && allowed == bytes.count
    var sent = 0
    while sent < allowed || ends && sent == 0 && allowed == 0 {
      let length = min(allowed - sent, peerMaximumFrame)
      HTTP2.write(
        .data, flags: ends && sent + length == allowed ? HTTP2.Flag.endStream : 0, stream: id,
        payload: UnsafeRawBufferPointer(rebasing: bytes[sent..<sent + length]), into: &out)
      sent += length
      // What the peer gives back for it: a window update for each of the two windows, or one for each KiB.
      earn(2)
      if length == 0 { break }
    }
    earn(sent >> 10)
    streams[index].sendWindow -= sent
    sendWindow -= sent
    if ends { localEnded(at: index) }
    return sent
  }

  /// Ends the sending with an empty DATA frame.
  public mutating func finish(_ id: UInt32, into out: inout ByteBuffer) {
    _ = send(UnsafeRawBufferPointer(start: nil, count: 0), stream: id, end: true, into: &out)
  }

  public mutating func reset(_ id: UInt32, code: HTTP2ErrorCode, into out: inout ByteBuffer) {
    guard let index = streams.index(of: id) else { return }
    close(at: index, .resetHere)
    HTTP2.write(.resetStream, stream: id, words: code.rawValue, into: &out)
  }

  /// The application has taken `count` bytes: the peer may send as many more (in half-window steps).
  public mutating func consumed(_ count: Int, stream id: UInt32, into out: inout ByteBuffer) {
    guard let index = streams.index(of: id), !streams[index].remoteEnded else { return }
    streams[index].unacknowledged += count
    let credit = streams[index].unacknowledged
    guard credit >= limits.streamWindow / 2 else { return }
    streams[index].unacknowledged = 0
    streams[index].receiveWindow += credit
    HTTP2.write(.windowUpdate, stream: id, words: UInt32(credit), into: &out)
  }

  /// Server: asks the peer to open no more streams; those under way are still taken (RFC 9113 §6.8). Call `goAway` one
  /// round trip later.
  public mutating func announceGoAway(into out: inout ByteBuffer) {
    HTTP2.write(.goAway, stream: 0, words: 0x7fff_ffff, HTTP2ErrorCode.noError.rawValue, into: &out)
  }

  /// Tells the peer which streams were seen at all. New ones are refused; close once `streamCount` is 0, or at once after
  /// an error.
  public mutating func goAway(_ code: HTTP2ErrorCode, into out: inout ByteBuffer) {
    isDraining = true
    announcedLastStream = min(announcedLastStream, highestPeerStream)
    HTTP2.write(.goAway, stream: 0, words: announcedLastStream, code.rawValue, into: &out)
  }

  /// Asks for a sign of life, the event `pong`.
  public mutating func ping(_ value: UInt64, into out: inout ByteBuffer) {
    openPings += 1
    HTTP2.write(
      .ping, stream: 0, words: UInt32(truncatingIfNeeded: value >> 32), UInt32(truncatingIfNeeded: value), into: &out)
  }

  private func sendingIndex(of id: UInt32) -> Int? {
    guard let index = streams.index(of: id), streams[index].headSent, !streams[index].localEnded else { return nil }
    return index
  }

  /// Encodes in place; only a block over the peer's frame size, which is rare, is copied into several frames.
  mutating func writeHead(
    _ head: HTTPHead, as kind: MessageKind, stream: UInt32, end: Bool, into out: inout ByteBuffer
  ) {
    let flags = end ? HTTP2.Flag.endStream : 0
    let start = out.writerIndex
    var length = 0
    let bound = HTTP2.frameHeaderLength + encoder.bound(of: head)
    out.writeWithUnsafeMutableBytes(minimumWritableBytes: bound) { target in
      length = encoder.encode(head, as: kind, into: .init(rebasing: target[HTTP2.frameHeaderLength...]))
      HTTP2.writeHeader(.headers, flags: flags | HTTP2.Flag.endHeaders, stream: stream, length: length, to: target)
      return HTTP2.frameHeaderLength + length
    }
    guard length > peerMaximumFrame else { return }
    let block = out.getSlice(at: start + HTTP2.frameHeaderLength, length: length)
    out.moveWriterIndex(to: start)
    block?.withUnsafeReadableBytes { block in
      for offset in stride(from: 0, to: length, by: peerMaximumFrame) {
        let end = min(offset + peerMaximumFrame, length)
        HTTP2.write(
          offset == 0 ? .headers : .continuation,
          flags: (offset == 0 ? flags : 0) | (end == length ? HTTP2.Flag.endHeaders : 0), stream: stream,
          payload: UnsafeRawBufferPointer(rebasing: block[offset..<end]), into: &out)
      }
    }
  }

  /// The stream at `index` sends no more.
  private mutating func localEnded(at index: Int) {
    if streams[index].remoteEnded { close(at: index, .ended) } else { streams[index].localEnded = true }
  }

  mutating func close(at index: Int, _ ending: ClosedStreams.Ending) {
    closed.add(streams[index].id, ending)
    streams.remove(at: index)
  }

  private mutating func answered() {
    wastedStreamBudget = min(wastedStreamBudget + 1, limits.wastedStreams)
    earn(4)
  }

  mutating func earn(_ frames: Int) { idleFrameBudget = min(idleFrameBudget + frames, limits.idleFrames) }
}
