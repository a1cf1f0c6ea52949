import CLibbpf
import Foundation
import MeshModel

@testable import Capture

// What the proxy does with its sockets, for the tests.

struct SocketFailure: Error, Equatable, CustomStringConvertible {
  let code: CInt
  var description: String { String(cString: strerror(code)) }
}

/// - Returns: whether `events` came within three seconds.
func wait(_ descriptor: CInt, for events: Int32 = POLLIN) -> Bool {
  var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
  return poll(&entry, 1, 3_000) == 1
}

func acceptNext(_ listener: CInt) throws -> CInt {
  guard wait(listener) else { throw SocketFailure(code: ETIMEDOUT) }
  let accepted = accept(listener, nil, nil)
  guard accepted >= 0 else { throw SocketFailure(code: errno) }
  return accepted
}

/// Does anyone wait to be accepted?
func isQuiet(_ listener: CInt) -> Bool {
  var entry = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
  return poll(&entry, 1, 50) == 0
}

func option(_ socket: CInt, _ level: CInt, _ name: CInt, bytes: Int) throws -> [UInt8] {
  var value = [UInt8](repeating: 0, count: bytes)
  var length = socklen_t(bytes)
  guard getsockopt(socket, level, name, &value, &length) == 0 else { throw SocketFailure(code: errno) }
  return Array(value.prefix(Int(length)))
}

/// A `struct weft_sockaddr` as the proxy reads it.
func weftAddress(_ socket: CInt, _ name: Int32) throws -> SocketAddress? {
  let bytes = try option(socket, 0, name, bytes: 24)
  guard bytes.count == 24 else { return nil }
  let family = UInt16(bytes[0]) | UInt16(bytes[1]) << 8
  let port = UInt16(bytes[2]) << 8 | UInt16(bytes[3])
  let address = IPAddress(bytes: family == 2 ? bytes[8..<12] : bytes[8..<24])
  return address.map { SocketAddress($0, port) }
}

func originalDestination(_ socket: CInt) throws -> String? {
  try weftAddress(socket, WEFT_SO_ORIGINAL_DST)?.description
}

func setClientAddress(_ socket: CInt, _ client: SocketAddress) -> CInt {
  var value: [UInt8] = [client.ip.family == .v4 ? 2 : 10, 0]
  value += [UInt8(client.port >> 8), UInt8(truncatingIfNeeded: client.port), 0, 0, 0, 0]
  value += client.ip.bytes
  value += [UInt8](repeating: 0, count: 24 - value.count)
  return setsockopt(socket, 0, WEFT_SO_CLIENT_ADDRESS, value, 24) == 0 ? 0 : errno
}

private func sockaddrBytes(_ address: SocketAddress, v6Socket: Bool) -> [UInt8] {
  let port = [UInt8(address.port >> 8), UInt8(truncatingIfNeeded: address.port)]
  guard v6Socket || address.ip.family == .v6 else {
    return [2, 0] + port + address.ip.bytes + [UInt8](repeating: 0, count: 8)
  }
  let mapped = [UInt8](repeating: 0, count: 10) + [0xff, 0xff]
  let ip = address.ip.family == .v4 ? mapped + address.ip.bytes : address.ip.bytes
  return [10, 0] + port + [0, 0, 0, 0] + ip + [0, 0, 0, 0]
}

/// Connects a non-blocking socket and waits for the outcome: 0 or an errno value.
func connectAndWait(_ socket: CInt, to address: SocketAddress) -> CInt {
  let bytes = sockaddrBytes(address, v6Socket: false)
  let code = bytes.withUnsafeBytes { raw in
    connect(socket, raw.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t(raw.count)) == 0 ? 0 : errno
  }
  guard code == EINPROGRESS else { return code }
  guard wait(socket, for: POLLOUT) else { return ETIMEDOUT }
  var error: CInt = 0
  var length = socklen_t(MemoryLayout<CInt>.size)
  getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length)
  return error
}

private func parse(_ storage: sockaddr_storage) -> SocketAddress? {
  withUnsafeBytes(of: storage) { bytes in
    let port = UInt16(bytes[2]) << 8 | UInt16(bytes[3])
    let ip = IPAddress(bytes: storage.ss_family == 2 ? Array(bytes[4..<8]) : Array(bytes[8..<24]))
    return ip.map { SocketAddress($0, port) }
  }
}

enum End { case own, peer }

func address(_ end: End, of socket: CInt) -> SocketAddress? {
  var storage = sockaddr_storage()
  var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
  let code = withUnsafeMutableBytes(of: &storage) { bytes in
    guard let raw = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self) else { return CInt(-1) }
    return end == .own ? getsockname(socket, raw, &length) : getpeername(socket, raw, &length)
  }
  return code == 0 ? parse(storage) : nil
}

/// Takes one datagram and sends `reply` back the way it came: the control message received says which address it was
/// sent to, and sent again makes that the source. Gives the datagram.
func answerOne(_ socket: CInt, reply: String) throws -> String {
  guard wait(socket) else { throw SocketFailure(code: ETIMEDOUT) }
  var data = [UInt8](repeating: 0, count: 512)
  var control = [UInt8](repeating: 0, count: 256)
  var from = sockaddr_storage()
  return try data.withUnsafeMutableBytes { data in
    try control.withUnsafeMutableBytes { control in
      try withUnsafeMutableBytes(of: &from) { from in
        var vector = iovec(iov_base: data.baseAddress, iov_len: data.count)
        return try withUnsafeMutablePointer(to: &vector) { vector in
          var message = msghdr()
          message.msg_name = from.baseAddress
          message.msg_namelen = socklen_t(from.count)
          message.msg_iov = vector
          message.msg_iovlen = 1
          message.msg_control = control.baseAddress
          message.msg_controllen = control.count
          let count = recvmsg(socket, &message, 0)
          guard count >= 0 else { throw SocketFailure(code: errno) }
          let query = String(decoding: data[..<count], as: UTF8.self)
          data.copyBytes(from: reply.utf8)
          vector.pointee.iov_len = reply.utf8.count
          guard sendmsg(socket, &message, 0) >= 0 else { throw SocketFailure(code: errno) }
          return query
        }
      }
    }
  }
}
