import Foundation
import NIOCore
import NIOHTTP1

/// Sends a log file over a connection, on a thread of its own; each piece waits until the one before has been written.
final class LogStream: Sendable {
  private static let piece = 32 << 10
  /// How often a log that is followed is looked at, in seconds.
  private static let interval = 0.2

  private let path: String
  private let logs: KubeletRequest.Logs
  private let channel: any Channel
  private let isRunning: @Sendable () -> Bool

  init(path: String, logs: KubeletRequest.Logs, channel: any Channel, isRunning: @escaping @Sendable () -> Bool) {
    self.path = path
    self.logs = logs
    self.channel = channel
    self.isRunning = isRunning
  }

  func start() {
    Thread.detachNewThread { [self] in
      // An error is the client's having gone: nobody is left to be told.
      try? send()
      try? channel.writeAndFlush(HTTPServerResponsePart.end(nil)).wait()
      channel.close(promise: nil)
    }
  }

  private func send() throws {
    // A container that has written nothing yet has no file.
    var file = FileHandle(forReadingAtPath: path)
    defer { try? file?.close() }
    if let file, let tail = logs.tail { try file.seek(toOffset: Self.start(ofLast: tail, in: file)) }
    var left = logs.limit ?? .max
    while left > 0, channel.isActive {
      // Asked before the file is read: what a container wrote before its end is sent.
      let isLast = !logs.follows || !isRunning()
      if file == nil { file = FileHandle(forReadingAtPath: path) }
      while left > 0, let data = try file?.read(upToCount: min(left, Self.piece)), !data.isEmpty {
        left -= data.count
        try channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(bytes: data)))).wait()
      }
      if isLast { return }
      Thread.sleep(forTimeInterval: Self.interval)
    }
  }

  /// Where the last `count` lines begin.
  static func start(ofLast count: Int, in file: FileHandle) throws -> UInt64 {
    let end = try file.seekToEnd()
    guard count > 0 else { return end }
    var position = end
    var found = 0
    while position > 0 {
      let length = min(UInt64(piece), position)
      position -= length
      try file.seek(toOffset: position)
      let data = try file.read(upToCount: Int(length)) ?? Data()
      for (index, byte) in data.enumerated().reversed() where byte == UInt8(ascii: "\n") {
        let next = position + UInt64(index) + 1
        // The last line's own end begins no line.
        guard next < end else { continue }
        found += 1
        if found == count { return next }
      }
    }
    return 0
  }
}
