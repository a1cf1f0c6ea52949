import CLinux
import Glibc

@testable import ProxyRuntime

/// Answers every request with a name until its listener is shut down.
func serve(_ backend: TestSocket, as name: String, status: Int = 200) -> BackgroundResult<Void> {
  inBackground {
    while let socket = try? backend.accept() {
      _ = inBackground {
        let peer = HTTPPeer(socket)
        while (try? peer.read()) != nil { try peer.respond(status, name) }
      }
    }
  }
}

func stop(_ backends: [TestSocket], _ serving: [BackgroundResult<Void>]) throws {
  for backend in backends { shutdown(backend.fd, Int32(SHUT_RD)) }
  for server in serving { try server.get() }
}
