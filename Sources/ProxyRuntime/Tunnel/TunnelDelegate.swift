import ProxyCore

/// Who uses a tunnel.
protocol TunnelDelegate: AnyObject {
  /// The handshake is done, and the peer showed this URI: nil to accept it, else why not.
  func tunnel(_ tunnel: TunnelConnection, judge peerURI: String?) -> String?
  func tunnelOpened(_ tunnel: TunnelConnection)
  func tunnel(_ tunnel: TunnelConnection, request: HBONERequest, stream: TunnelStream)
  /// Streams may be opened again, or never more.
  func tunnelChanged(_ tunnel: TunnelConnection)
  /// Called once; the streams have been told before.
  func tunnelClosed(_ tunnel: TunnelConnection, reason: String)
}
