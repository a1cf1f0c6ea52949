import Foundation
import Glibc

@testable import Discovery

/// A TCP relay on loopback that breaks connections: one for each number of the plan, after so many bytes from the
/// server. When frozen it keeps its connections open and says nothing more.
final class CuttingRelay: Sendable {
  let port: Int
  private let listener: Int32
  private let target: Int
  private let plan: Guarded<[Int]>
  private let made = Guarded(0)
  private let frozen = Guarded(false)
  private let stopped = Guarded(false)

  /// How many connections were cut.
  var cuts: Int { made.value }

  init(to target: Int, bytes: [Int]) throws {
    self.target = target
    plan = Guarded(bytes)
    listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = Self.loopback(0)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) { [listener] pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, length) == 0 && listen(listener, 16) == 0 && getsockname(listener, $0, &length) == 0
      }
    }
    guard bound else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
    port = Int(UInt16(bigEndian: address.sin_port))
    Thread { [self] in accepting() }.start()
  }

  func freeze() { frozen.value = true }

  func stop() {
    stopped.value = true
    // Wakes accept.
    shutdown(listener, Int32(SHUT_RDWR))
  }

  private func accepting() {
    while true {
      let client = accept(listener, nil, nil)
      guard client >= 0, !stopped.value else { break }
      guard let server = try? Self.dial(target) else {
        close(client)
        continue
      }
      Thread { [self] in relay(client, server) }.start()
    }
    close(listener)
  }

  private func relay(_ client: Int32, _ server: Int32) {
    var received = 0
    var buffer = [UInt8](repeating: 0, count: 64 * 1024)
    var polls = [
      pollfd(fd: client, events: Int16(POLLIN), revents: 0), pollfd(fd: server, events: Int16(POLLIN), revents: 0),
    ]
    relaying: while !stopped.value {
      guard !frozen.value else {
        usleep(10_000)
        continue
      }
      guard poll(&polls, 2, 100) >= 0 else { break }
      for (index, other) in [(0, server), (1, client)] where polls[index].revents != 0 {
        let left = plan.withLock { $0.first.map { max(1, $0 - received) } ?? .max }
        let count = recv(polls[index].fd, &buffer, min(buffer.count, index == 1 ? left : .max), 0)
        guard count > 0, send(other, buffer, count, Int32(MSG_NOSIGNAL)) == count else { break relaying }
        guard index == 1 else { continue }
        received += count
        let isCut = plan.withLock { plan in
          guard let limit = plan.first, received >= limit else { return false }
          plan.removeFirst()
          return true
        }
        if isCut {
          made.withLock { $0 += 1 }
          break relaying
        }
      }
    }
    close(client)
    close(server)
  }

  /// Connects, writes the bytes and closes.
  static func throwAway(_ bytes: [UInt8], to port: Int) throws {
    let descriptor = try dial(port)
    defer { close(descriptor) }
    guard Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
      throw POSIXError(.init(rawValue: errno) ?? .EIO)
    }
  }

  /// A connected socket that the caller closes.
  static func dial(_ port: Int) throws -> Int32 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = loopback(port)
    let connected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
    guard connected else {
      close(descriptor)
      throw POSIXError(.init(rawValue: errno) ?? .EIO)
    }
    return descriptor
  }

  private static func loopback(_ port: Int) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
    return address
  }
}
