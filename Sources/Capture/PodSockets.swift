import Glibc
import PodNetworking

public typealias PodListener = PodNetworking.PodListener
public typealias PodSocketKind = PodNetworking.PodSocketKind

/// Opens sockets in the network namespace of the calling thread: call it inside `NamespaceThread.run`. All sockets are
/// non-blocking and close on exec; the caller owns them.
public enum PodSockets {
  /// One descriptor per listener, in the order of `PodListener.allCases`; none is left open if one fails.
  public static func openListeners() throws(CaptureError) -> [CInt] {
    try translating { () throws(PodSocketError) in try SocketOpener.openListeners() }
  }

  /// Dual-stack, or IPv4 alone where the kernel has no IPv6.
  public static func open(_ listener: PodListener) throws(CaptureError) -> CInt {
    try translating { () throws(PodSocketError) in try SocketOpener.open(listener) }
  }

  /// - Parameter count: 1...128.
  public static func open(_ kind: PodSocketKind, count: Int) throws(CaptureError) -> [CInt] {
    try translating { () throws(PodSocketError) in try SocketOpener.open(kind, count: count) }
  }

  private static func translating<Result>(
    _ body: () throws(PodSocketError) -> Result
  ) throws(CaptureError) -> Result {
    do throws(PodSocketError) {
      return try body()
    } catch {
      throw error.isPortTaken ? CaptureError(.portTaken, error.what) : .system(error.what, code: error.code)
    }
  }
}
