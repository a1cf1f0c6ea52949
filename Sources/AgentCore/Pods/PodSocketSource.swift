import Capture

/// Opens sockets inside one pod's network namespace: the agent's namespace thread, or the pod's stub.
protocol PodSocketSource: Sendable {
  /// In the order of `PodListener.allCases`; the caller's.
  func openListeners() async throws -> [Int32]
  /// - Parameter count: 1...128.
  func open(_ kind: PodSocketKind, count: Int) async throws -> [Int32]
}

/// The agent enters the namespace itself.
struct NamespaceSocketSource: PodSocketSource {
  let thread: NamespaceThread
  let namespace: NetworkNamespace

  func openListeners() async throws -> [Int32] {
    try await thread.run(in: namespace) { try PodSockets.openListeners() }
  }

  func open(_ kind: PodSocketKind, count: Int) async throws -> [Int32] {
    try await thread.run(in: namespace) { try PodSockets.open(kind, count: count) }
  }

  func open(_ listener: PodListener) async throws -> Int32 {
    try await thread.run(in: namespace) { try PodSockets.open(listener) }
  }
}
