import Dispatch
import Glibc
import MeshModel
import Synchronization

/// Resolves a host's name to all of its addresses. One look-up at a time; one that hangs holds nobody up.
final class HostResolver: Sendable {
  private static let limit = Duration.seconds(5)

  private let host: String
  private let lookUp: @Sendable (String) -> [String]
  private let isRunning = Mutex(false)

  /// - Parameter lookUp: may block.
  init(_ host: String, lookUp: @escaping @Sendable (String) -> [String] = HostResolver.system) {
    self.host = host
    self.lookUp = lookUp
  }

  /// - Returns: addresses as text; none where nothing can be learned now. An address is itself.
  func addresses() async -> [String] {
    if IPAddress(host) != nil { return [host] }
    let isFirst = isRunning.withLock { running in
      defer { running = true }
      return !running
    }
    guard isFirst else { return [] }
    let (answers, answer) = AsyncStream<[String]>.makeStream(bufferingPolicy: .bufferingNewest(1))
    DispatchQueue.global().async { [self] in
      answer.yield(lookUp(host))
      answer.finish()
      isRunning.withLock { $0 = false }
    }
    let timer = Task {
      try await Task.sleep(for: Self.limit)
      answer.finish()
    }
    defer { timer.cancel() }
    for await found in answers { return found }
    return []
  }

  /// The system's resolver.
  static func system(_ host: String) -> [String] {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    hints.ai_flags = AI_ADDRCONFIG
    var list: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, nil, &hints, &list) == 0 else { return [] }
    defer { freeaddrinfo(list) }
    var found: [String] = []
    var entry = list
    while let info = entry {
      var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
      let length = socklen_t(text.count)
      if getnameinfo(info.pointee.ai_addr, info.pointee.ai_addrlen, &text, length, nil, 0, NI_NUMERICHOST) == 0 {
        found.append(String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
      }
      entry = info.pointee.ai_next
    }
    return found
  }
}
