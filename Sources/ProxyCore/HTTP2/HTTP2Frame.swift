import NIOCore

/// The frame layer of HTTP/2 (RFC 9113 §4, §6, §7): constants, and frames written into a buffer.
public enum HTTP2 {
  public static let preface: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
  static let frameHeaderLength = 9
  /// SETTINGS_MAX_FRAME_SIZE's initial value (§6.5.2), and all that Weft accepts of frames other than DATA.
  static let maximumFrameSize = 16_384
  /// What Weft announces and sends of DATA at most: a frame header every 256 KiB leaves what a bulk stream's receiver
  /// decrypts in one piece.
  static let maximumDataSize = 256 << 10
  static let initialWindow = 65_535
  static let maximumWindow = Int(Int32.max)

  enum FrameType: UInt8 {
    case data = 0
    case headers = 1
    case priority = 2
    case resetStream = 3
    case settings = 4
    case pushPromise = 5
    case ping = 6
    case goAway = 7
    case windowUpdate = 8
    case continuation = 9
  }

  enum Flag {
    static let endStream: UInt8 = 0x1
    static let acknowledge: UInt8 = 0x1
    static let endHeaders: UInt8 = 0x4
    static let padded: UInt8 = 0x8
    static let priority: UInt8 = 0x20
  }

  enum Setting: UInt16 {
    case headerTableSize = 1
    case enablePush = 2
    case maximumConcurrentStreams = 3
    case initialWindowSize = 4
    case maximumFrameSize = 5
    case maximumHeaderListSize = 6
  }

  struct FrameHeader {
    var length: Int
    var type: UInt8
    var flags: UInt8
    var stream: UInt32

    init(_ bytes: UnsafeRawBufferPointer) {
      length = Int(bytes[0]) << 16 | Int(bytes[1]) << 8 | Int(bytes[2])
      type = bytes[3]
      flags = bytes[4]
      stream = bytes.bigEndian(at: 5) & 0x7fff_ffff
    }

    func has(_ flag: UInt8) -> Bool { flags & flag != 0 }
  }

  static func write(
    _ type: FrameType, flags: UInt8 = 0, stream: UInt32, payload: UnsafeRawBufferPointer, into out: inout ByteBuffer
  ) {
    out.writeWithUnsafeMutableBytes(minimumWritableBytes: frameHeaderLength + payload.count) { target in
      let length = payload.count
      writeHeader(type, flags: flags, stream: stream, length: length, to: target)
      if length > 0 {
        UnsafeMutableRawBufferPointer(rebasing: target[frameHeaderLength...]).copyMemory(from: payload)
      }
      return frameHeaderLength + length
    }
  }

  static func writeHeader(
    _ type: FrameType, flags: UInt8, stream: UInt32, length: Int, to target: UnsafeMutableRawBufferPointer
  ) {
    target[0] = UInt8(truncatingIfNeeded: length >> 16)
    target[1] = UInt8(truncatingIfNeeded: length >> 8)
    target[2] = UInt8(truncatingIfNeeded: length)
    target[3] = type.rawValue
    target[4] = flags
    target.storeBytes(of: stream.bigEndian, toByteOffset: 5, as: UInt32.self)
  }

  static func write(
    _ type: FrameType, flags: UInt8 = 0, stream: UInt32, words: UInt32..., into out: inout ByteBuffer
  ) {
    withUnsafeTemporaryAllocation(byteCount: 4 * words.count, alignment: 4) { bytes in
      for (index, word) in words.enumerated() {
        bytes.storeBytes(of: word.bigEndian, toByteOffset: 4 * index, as: UInt32.self)
      }
      write(type, flags: flags, stream: stream, payload: UnsafeRawBufferPointer(bytes), into: &out)
    }
  }

  static func writeSettings(_ settings: [(Setting, UInt32)], into out: inout ByteBuffer) {
    var payload = ByteBuffer()
    for (setting, value) in settings {
      payload.writeInteger(setting.rawValue)
      payload.writeInteger(value)
    }
    payload.withUnsafeReadableBytes { write(.settings, stream: 0, payload: $0, into: &out) }
  }
}

/// Why a stream or the connection ends (RFC 9113 §7).
public enum HTTP2ErrorCode: UInt32, Sendable {
  case noError = 0
  case protocolError = 1
  case internalError = 2
  case flowControlError = 3
  case settingsTimeout = 4
  case streamClosed = 5
  case frameSizeError = 6
  case refusedStream = 7
  case cancel = 8
  case compressionError = 9
  case connectError = 10
  case enhanceYourCalm = 11
  case inadequateSecurity = 12
  case http11Required = 13
}

/// A connection error: the peer is told by GOAWAY and the connection closed.
public struct HTTP2Error: Error, Equatable, Sendable, CustomStringConvertible {
  public let code: HTTP2ErrorCode
  public let reason: String

  public init(code: HTTP2ErrorCode, reason: String) {
    self.code = code
    self.reason = reason
  }

  public var description: String { "\(code): \(reason)" }
}

extension UnsafeRawBufferPointer {
  func bigEndian(at offset: Int) -> UInt32 {
    UInt32(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self))
  }
}
