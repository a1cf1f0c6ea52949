import Identity
import Synchronization

/// The CA, once it is open.
final class Opened: Sendable {
  private let held = Mutex<CertificateAuthority?>(nil)

  var authority: CertificateAuthority? {
    get { held.withLock { $0 } }
    set { held.withLock { $0 = newValue } }
  }
}
