import Dispatch
import Glibc

/// SIGTERM and SIGINT as a call, once.
final class TerminationSignals {
  private let sources: [any DispatchSourceSignal]

  init(_ body: @escaping @Sendable () -> Void) {
    sources = [SIGTERM, SIGINT].map { number in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler(handler: body)
      source.resume()
      return source
    }
    signal(SIGPIPE, SIG_IGN)
  }

  func stop() { for source in sources { source.cancel() } }
}
