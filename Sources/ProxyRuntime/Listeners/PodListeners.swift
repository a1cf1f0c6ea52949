import Glibc

extension Worker {
  /// Serves a pod's sockets. Each descriptor is taken, also where an error is thrown.
  func listen(_ pod: PodContext, _ listeners: [(ListenerKind, Int32)]) throws(SystemError) {
    let report: (String) -> Void = { [unowned self] in log(.error, "\(pod.id): \($0)") }
    let upstream = listeners.first { $0.0 == .dnsUpstream }?.1
    for (kind, fd) in listeners {
      switch kind {
      case .outbound:
        pod.listeners.append(
          try TCPListener(fd: fd, loop: loop, report: report) { [unowned self] in acceptOutbound($0, $1, pod: pod) })
      case .inbound:
        pod.listeners.append(
          try TCPListener(fd: fd, loop: loop, report: report) { [unowned self] in acceptPlaintext($0, $1, pod: pod) })
      case .hbone:
        pod.listeners.append(
          try TCPListener(fd: fd, loop: loop, report: report) { [unowned self] in acceptTunnel($0, $1, pod: pod) })
      case .dns: try serveDNS(pod, listener: fd, upstream: upstream)
      case .dnsUpstream: break
      }
    }
  }
}
