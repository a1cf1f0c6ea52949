import CLinux
import DiscoveryAPI
import Dispatch
import Foundation
import Glibc
import SwiftProtobuf

/// The agent's end of the socket to its proxy: frames of protobuf, and descriptors with them
/// (proto/weft/proxy/v1/proxy.proto). Sending never waits: a proxy that doesn't read is given up at `queueBound` bytes,
/// one that sends faster than the agent takes at `eventsBound` messages.
///
/// All state is confined to `queue`, which makes it safe to share. To be closed when it's no longer used.
final class ProxyLink: @unchecked Sendable {
  static let frameBound = 64 << 20
  static let descriptorsPerFrame = 253
  static let eventsBound = 16_384

  /// What comes from the proxy, until the end; the descriptors are the receiver's.
  let events: AsyncStream<(message: Weft_Proxy_V1_FromProxy, descriptors: [Int32])>
  private let continuation: AsyncStream<(message: Weft_Proxy_V1_FromProxy, descriptors: [Int32])>.Continuation
  private let queue = DispatchQueue(label: "weft.proxy-link")
  private let fd: Int32
  private let queueBound: Int
  private var reader: (any DispatchSourceRead)?
  private var writer: (any DispatchSourceWrite)?
  private var input: [UInt8] = []
  private var descriptors: [Int32] = []
  private var output: [(bytes: [UInt8], offset: Int, descriptors: [Int32])] = []
  private var outputBytes = 0
  private var isWriterActive = false
  private var isClosed = false
  private var closeReason = ""

  /// Takes a connected, non-blocking socket.
  init(fd: Int32, queueBound: Int = 256 << 20) {
    self.fd = fd
    self.queueBound = queueBound
    (events, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(Self.eventsBound))
    let reader = DispatchSource.makeReadSource(fileDescriptor: fd, queue: queue)
    let writer = DispatchSource.makeWriteSource(fileDescriptor: fd, queue: queue)
    let open = DispatchGroup()
    for source in [reader as any DispatchSourceProtocol, writer as any DispatchSourceProtocol] {
      open.enter()
      source.setCancelHandler { open.leave() }
    }
    // Only when neither source looks at it any more may the descriptor be used for something else.
    open.notify(queue: queue) { Glibc.close(fd) }
    // They hold the link until it's closed: a descriptor never leaves while it's watched.
    reader.setEventHandler { self.read() }
    writer.setEventHandler { self.flush() }
    queue.sync {
      self.reader = reader
      self.writer = writer
      reader.activate()
    }
  }

  /// - Parameter descriptors: taken, and closed once sent; at most 253.
  func send(_ message: Weft_Proxy_V1_ToProxy, descriptors: [Int32] = []) {
    queue.async { [self] in
      guard !isClosed, let payload: [UInt8] = try? message.serializedBytes(), payload.count <= Self.frameBound,
        descriptors.count <= Self.descriptorsPerFrame
      else {
        for fd in descriptors { Glibc.close(fd) }
        return
      }
      let length = UInt32(payload.count)
      let header = (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * UInt32($0))) }
      outputBytes += payload.count + 4
      output.append((header + payload, 0, descriptors))
      guard outputBytes <= queueBound else { return shut("the proxy doesn't read") }
      flush()
    }
  }

  /// Why the stream of events has ended.
  var reason: String { queue.sync { closeReason } }

  func close(_ reason: String = "closed") {
    queue.async { [self] in shut(reason) }
  }

  private func flush() {
    while !isClosed, !output.isEmpty {
      let sent = output[0].bytes.withUnsafeBytes { bytes in
        weft_send_with_fds(
          fd, bytes.baseAddress! + output[0].offset, bytes.count - output[0].offset, output[0].descriptors,
          Int32(output[0].descriptors.count))
      }
      if sent == -Int(EAGAIN) { break }
      if sent == -Int(EINTR) { continue }
      guard sent > 0 else { return shut(String(cString: strerror(Int32(-sent)))) }
      for fd in output[0].descriptors { Glibc.close(fd) }
      output[0].descriptors = []
      output[0].offset += sent
      outputBytes -= sent
      if output[0].offset == output[0].bytes.count { output.removeFirst() }
    }
    let wantsWriter = !isClosed && !output.isEmpty
    if wantsWriter != isWriterActive, let writer {
      isWriterActive = wantsWriter
      if wantsWriter { writer.resume() } else { writer.suspend() }
    }
  }

  private func read() {
    var buffer = [UInt8](repeating: 0, count: 128 << 10)
    while !isClosed {
      var incoming = [Int32](repeating: -1, count: Self.descriptorsPerFrame)
      var count: Int32 = 0
      let length = weft_receive_with_fds(fd, &buffer, buffer.count, &incoming, Int32(incoming.count), &count)
      descriptors += incoming.prefix(max(0, Int(count)))
      if length == -Int(EAGAIN) { return }
      if length == -Int(EINTR) { continue }
      guard length > 0 else {
        return shut(length == 0 ? "the proxy closed the connection" : String(cString: strerror(Int32(-length))))
      }
      input += buffer[..<length]
      takeFrames()
    }
  }

  private func takeFrames() {
    var start = 0
    while !isClosed, input.count - start >= 4 {
      let length = input[start..<start + 4].reduce(0) { $0 << 8 | Int($1) }
      guard length <= Self.frameBound else { return shut("a frame of \(length) bytes; at most \(Self.frameBound)") }
      guard input.count - start >= 4 + length else { break }
      let frame = Array(input[start + 4..<start + 4 + length])
      guard let message = try? Weft_Proxy_V1_FromProxy(serializedBytes: frame) else {
        return shut("a frame that is no message")
      }
      start += 4 + length
      let wanted = message.hello.pods.reduce(0) { $0 + $1.listeners.count }
      guard descriptors.count >= wanted else {
        return shut("a frame names \(wanted) descriptors and came with \(descriptors.count)")
      }
      let own = Array(descriptors.prefix(wanted))
      descriptors.removeFirst(own.count)
      guard case .enqueued = continuation.yield((message, descriptors: own)) else {
        for fd in own { Glibc.close(fd) }
        return shut("more than \(Self.eventsBound) messages wait")
      }
    }
    guard !isClosed else { return }
    if start > 0 { input.removeFirst(start) }
    // They may belong to a frame that isn't whole yet, but never to more than one.
    if descriptors.count > Self.descriptorsPerFrame || (input.isEmpty && !descriptors.isEmpty) {
      shut("descriptors that no frame names")
    }
  }

  private func shut(_ reason: String) {
    guard !isClosed else { return }
    isClosed = true
    reader?.cancel()
    // A suspended source never gets to its cancel handler.
    if !isWriterActive { writer?.resume() }
    isWriterActive = true
    writer?.cancel()
    (reader, writer) = (nil, nil)
    for frame in output { for fd in frame.descriptors { Glibc.close(fd) } }
    for fd in descriptors { Glibc.close(fd) }
    output = []
    descriptors = []
    input = []
    closeReason = reason
    continuation.finish()
  }
}
