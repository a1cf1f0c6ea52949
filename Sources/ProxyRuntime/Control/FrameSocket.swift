import CLinux
import DequeModule
import Glibc
import SwiftProtobuf

/// Frames of protobuf and descriptors on the Unix socket to the agent (proto/weft/proxy/v1/proxy.proto).
final class FrameSocket: EventSource {
  static let frameBound = 64 << 20
  private static let descriptorsPerFrame = 253
  private static let queueBound = 64 << 20

  /// Descriptors that came with one read of the bytes in `range`. The kernel ends a read with the message that brings
  /// descriptors, and that message begins a frame: they are the last frame's that begins within the range.
  private struct Batch {
    let range: Range<Int>
    let descriptors: [Int32]
  }

  private let loop: EventLoop
  private let received: ([UInt8], _ takeDescriptors: (Int) -> [Int32]) -> Void
  private let closed: (String) -> Void
  private var input: [UInt8] = []
  /// How many bytes were received before `input`.
  private var inputOffset = 0
  private var descriptors: Deque<Batch> = []
  private var output: Deque<(bytes: [UInt8], descriptors: [Int32])> = []
  private var outputBytes = 0
  private var isClosed = false

  /// - Parameter received: is given a frame, and how to take the descriptors that came with it.
  init(
    fd: Int32, loop: EventLoop, received: @escaping ([UInt8], (Int) -> [Int32]) -> Void,
    closed: @escaping (String) -> Void
  ) throws(SystemError) {
    self.loop = loop
    self.received = received
    self.closed = closed
    super.init(fd: fd)
    try loop.add(self, events: Socket.edgeTriggered)
  }

  override func handle(_ events: UInt32) {
    if events & EPOLLOUT.rawValue != 0 { flush() }
    while !isClosed {
      var incoming = [Int32](repeating: -1, count: Self.descriptorsPerFrame)
      var count: Int32 = 0
      let length = weft_receive_with_fds(
        fd, loop.scratch.baseAddress, loop.scratch.count, &incoming, Int32(incoming.count), &count)
      if count > 0 {
        let start = inputOffset + input.count
        descriptors.append(
          Batch(range: start..<start + max(0, length), descriptors: Array(incoming.prefix(Int(count)))))
      }
      if length > 0 {
        input.append(contentsOf: loop.scratch[..<length])
        takeFrames()
      } else if length == -Int(EAGAIN) {
        return
      } else if length != -Int(EINTR) {
        return close(length == 0 ? "the agent closed the connection" : String(cString: strerror(Int32(-length))))
      }
    }
  }

  private func takeFrames() {
    var start = 0
    while !isClosed, input.count - start >= 4 {
      let length = input[start..<start + 4].reduce(0) { $0 << 8 | Int($1) }
      guard length <= Self.frameBound else { return close("a frame of \(length) bytes; at most \(Self.frameBound)") }
      guard input.count - start >= 4 + length else { break }
      let frame = Array(input[start + 4..<start + 4 + length])
      var own = takeBatch(from: inputOffset + start, to: inputOffset + start + 4 + length)
      start += 4 + length
      received(frame) { wanted in
        let taken = Array(own.prefix(wanted))
        own.removeFirst(taken.count)
        return taken
      }
      for fd in own { Glibc.close(fd) }
    }
    inputOffset += start
    if start > 0 { input.removeFirst(min(start, input.count)) }
  }

  /// The descriptors of the frame between two offsets.
  private func takeBatch(from start: Int, to end: Int) -> [Int32] {
    guard let first = descriptors.first, first.range.lowerBound <= start, first.range.upperBound <= end else {
      return []
    }
    descriptors.removeFirst()
    return first.descriptors
  }

  /// - Parameter descriptors: stay the caller's; at most 253.
  func send(_ message: some Message, descriptors: [Int32] = []) {
    guard !isClosed, let payload: [UInt8] = try? message.serializedBytes() else { return }
    let length = UInt32(payload.count)
    let header = [
      UInt8(truncatingIfNeeded: length >> 24), UInt8(truncatingIfNeeded: length >> 16),
      UInt8(truncatingIfNeeded: length >> 8), UInt8(truncatingIfNeeded: length),
    ]
    outputBytes += payload.count + 4
    guard outputBytes <= Self.queueBound else { return close("the agent doesn't read") }
    // Kept until they are sent: the caller may close its own meanwhile.
    output.append((header + payload, descriptors.map { fcntl($0, F_DUPFD_CLOEXEC, 3) }))
    flush()
  }

  private func flush() {
    while !isClosed, let first = output.first {
      let sent = first.bytes.withUnsafeBytes {
        weft_send_with_fds(fd, $0.baseAddress, $0.count, first.descriptors, Int32(first.descriptors.count))
      }
      if sent == -Int(EAGAIN) { return }
      if sent == -Int(EINTR) { continue }
      guard sent > 0 else { return close(String(cString: strerror(Int32(-sent)))) }
      for fd in first.descriptors { Glibc.close(fd) }
      outputBytes -= sent
      if sent == first.bytes.count {
        output.removeFirst()
      } else {
        output[0] = (Array(first.bytes[sent...]), [])
      }
    }
  }

  func close(_ reason: String) {
    guard !isClosed else { return }
    isClosed = true
    loop.remove(self, closing: true)
    Glibc.close(fd)
    for batch in descriptors { for fd in batch.descriptors { Glibc.close(fd) } }
    descriptors = []
    for frame in output { for fd in frame.descriptors { Glibc.close(fd) } }
    closed(reason)
  }
}
