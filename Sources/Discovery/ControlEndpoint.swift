import MeshModel

/// Where the control plane listens: `HOST:PORT`, `ADDRESS:PORT` or `[V6]:PORT`.
public struct ControlEndpoint: Hashable, Sendable, CustomStringConvertible {
  /// A host name, or an address without brackets.
  public let host: String
  public let port: Int

  public init(host: String, port: Int) {
    self.host = host
    self.port = port
  }

  /// nil for anything else.
  public init?(_ text: String) {
    if let address = SocketAddress(text) {
      self.init(host: address.ip.description, port: Int(address.port))
      return
    }
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2, DNSName.isSubdomain(parts[0].lowercased()), let port = UInt16(parts[1]), port > 0 else {
      return nil
    }
    self.init(host: String(parts[0]), port: Int(port))
  }

  public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
