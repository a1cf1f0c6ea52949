import Glibc
import ProxyCore

/// What the heads of a worker's answers have in common.
extension Worker {
  /// Adds Date where there is none: who forwards has to as well (RFC 9110 §6.6.1).
  func stampDate(_ head: inout HTTPHead) { date.stamp(&head, unixTime: Int64(time(nil))) }
}
