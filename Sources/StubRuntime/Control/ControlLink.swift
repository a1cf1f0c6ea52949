import CStub
import StubCore

/// Discovery: one stream at a time, made again with backoff. What was last in force stays in force while there is none.
final class ControlLink {
  static let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"

  private unowned let stub: Stub
  private var call: GRPCCall?
  private var backoff = Backoff(minimum: 0.5, maximum: 30)
  private var isWaiting = false
  private(set) var isConnected = false
  private(set) var lastError: String?

  init(stub: Stub) { self.stub = stub }

  /// Begins, or begins again with a new certificate.
  func use(_ credentials: Credentials) {
    call?.cancel()
    call = nil
    isConnected = false
    connect(credentials)
  }

  private func connect(_ credentials: Credentials) {
    let call = GRPCCall(
      GRPCCall.Settings(
        control: stub.options.control, context: credentials.client,
        expected: "spiffe://\(stub.options.identity.trustDomain.name)/control", path: Self.path,
        responseBytes: DeltaMessages.responseBytes),
      loop: stub.loop)
    self.call = call
    call.onOpen = { [unowned self, unowned call] in
      for message in stub.delta.start() { call.send(message) }
    }
    call.onMessage = { [unowned self, unowned call] (message) throws(WireError) in
      call.send(try stub.delta.receive(message))
      guard !isConnected || stub.delta.isComplete else { return }
      received()
    }
    call.onEnd = { [weak self, weak call] reason in
      guard let self, let call, self.call === call else { return }
      ended(reason ?? "the control plane ended the stream")
    }
    call.start()
  }

  private func received() {
    if !isConnected {
      stub.log.write(.info, "connected to the control plane at \(stub.options.control)")
    }
    isConnected = true
    lastError = nil
    backoff.reset()
    stub.meshChanged()
  }

  private func ended(_ reason: String) {
    isConnected = false
    lastError = reason
    call = nil
    guard !isWaiting else { return }
    isWaiting = true
    let pause = backoff.next(using: &stub.loop.random)
    stub.log.write(.warning, "no control plane (what was last known stays in force): \(reason)")
    stub.loop.after(seconds: pause) { [weak self] in
      guard let self else { return }
      isWaiting = false
      if call == nil, let credentials = stub.tunnels.credentials { connect(credentials) }
    }
  }

  func sweep(now: Int64) { call?.sweep(now: now) }
}
