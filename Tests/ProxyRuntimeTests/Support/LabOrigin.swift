import CLinux
import Glibc
import ProxyCore
import Synchronization

@testable import ProxyRuntime

/// All endpoints of a lab's `shop/web` on one thread. They speak HTTP/1.1, take requests without content, and answer
/// each as `plan` says; a request counts as under way until its answer goes, or its connection.
final class LabOrigin: Sendable {
  struct Request: Sendable {
    let endpoint: Int
    let path: String
    /// How many came to that endpoint before it.
    let number: Int
    /// At all endpoints, with it.
    let underWay: Int
  }

  enum Reply: Sendable {
    /// With the path as its content and the endpoint's number in `x-endpoint`.
    case answer(Int = 200, afterMilliseconds: Int = 0)
    /// And the connection ends.
    case lastAnswer
    case reset
    case silence
  }

  struct Counts: Sendable {
    var requests: [Int]
    /// In the order in which they came.
    var paths: [String] = []
    var underWay = 0
    var mostUnderWay = 0
    var connections = 0
    var mostConnections = 0
  }

  private struct State {
    var plan: @Sendable (Request) -> Reply
    var counts: Counts
  }

  private let state: Mutex<State>
  private let wantsEnd = Atomic(false)
  private let isOver = Atomic(false)

  init(_ lab: HTTPLab, _ plan: @escaping @Sendable (Request) -> Reply = { _ in .answer() }) {
    let listeners = lab.backends
    state = Mutex(State(plan: plan, counts: Counts(requests: listeners.map { _ in 0 })))
    _ = inBackground { [self] in
      var server = Server(listeners: listeners, origin: self)
      while !wantsEnd.load(ordering: .relaxed) { server.turn() }
      server.close()
      isOver.store(true, ordering: .relaxed)
    }
  }

  var counts: Counts { state.withLock { $0.counts } }
  func set(_ plan: @escaping @Sendable (Request) -> Reply) { state.withLock { $0.plan = plan } }

  /// What was the most begins anew.
  func forgetMost() {
    state.withLock {
      $0.counts.mostUnderWay = $0.counts.underWay
      $0.counts.mostConnections = $0.counts.connections
    }
  }

  /// All its connections end.
  func stop() {
    wantsEnd.store(true, ordering: .relaxed)
    _ = eventually { isOver.load(ordering: .relaxed) }
  }

  private func arrived(_ endpoint: Int, _ path: String) -> Reply {
    state.withLock { state in
      state.counts.underWay += 1
      state.counts.mostUnderWay = max(state.counts.mostUnderWay, state.counts.underWay)
      let request = Request(
        endpoint: endpoint, path: path, number: state.counts.requests[endpoint], underWay: state.counts.underWay)
      state.counts.requests[endpoint] += 1
      state.counts.paths.append(path)
      return state.plan(request)
    }
  }

  private func changed(requests: Int = 0, connections: Int = 0) {
    state.withLock {
      $0.counts.underWay += requests
      $0.counts.connections += connections
      $0.counts.mostConnections = max($0.counts.mostConnections, $0.counts.connections)
    }
  }

  private struct Connection {
    let socket: TestSocket
    let endpoint: Int
    var input: [UInt8] = []
    var isBusy = false
    /// With the time at which it goes.
    var answer: (due: NanoTime, text: String, isLast: Bool)?
  }

  private struct Server {
    let listeners: [TestSocket]
    let origin: LabOrigin
    var connections: [Connection] = []

    mutating func turn() {
      var polls = (listeners + connections.map(\.socket)).map { pollfd(fd: $0.fd, events: Int16(POLLIN), revents: 0) }
      let now = EventLoop.clock()
      let next = connections.compactMap { $0.answer?.due }.min().map { $0 > now ? ($0 - now) / 1_000_000 : 0 }
      guard poll(&polls, UInt(polls.count), Int32(min(next ?? 20, 20))) >= 0 else { return }
      for index in connections.indices.reversed() where polls[listeners.count + index].revents != 0 { read(index) }
      for index in listeners.indices where polls[index].revents != 0 {
        guard let socket = try? listeners[index].accept() else { continue }
        connections.append(Connection(socket: socket, endpoint: index))
        origin.changed(connections: 1)
      }
      let later = EventLoop.clock()
      for index in connections.indices.reversed() {
        if let due = connections[index].answer?.due, due <= later { answer(index) }
      }
    }

    private mutating func read(_ index: Int) {
      guard let bytes = try? connections[index].socket.readSome(), !bytes.isEmpty else { return end(index) }
      connections[index].input += bytes
      guard connections[index].input.suffix(4) == [13, 10, 13, 10] else { return }
      let line = String(decoding: connections[index].input.prefix { $0 != 13 }, as: UTF8.self)
      let path = String(line.split(separator: " ")[1])
      connections[index].input = []
      connections[index].isBusy = true
      let now = EventLoop.clock()
      func plan(_ status: Int, _ milliseconds: Int, isLast: Bool) {
        let fields = "Content-Length: \(path.utf8.count)\r\nX-Endpoint: \(connections[index].endpoint)\r\n"
        connections[index].answer = (
          now + .milliseconds(UInt64(milliseconds)),
          "HTTP/1.1 \(status) x\r\n\(fields)\(isLast ? "Connection: close\r\n" : "")\r\n\(path)", isLast
        )
      }
      switch origin.arrived(connections[index].endpoint, path) {
      case .answer(let status, let milliseconds): plan(status, milliseconds, isLast: false)
      case .lastAnswer: plan(200, 0, isLast: true)
      case .reset: end(index, reset: true)
      case .silence: break
      }
    }

    /// It counts no more before its bytes go: whoever has them may send the next.
    private mutating func answer(_ index: Int) {
      guard let answer = connections[index].answer else { return }
      connections[index].answer = nil
      connections[index].isBusy = false
      origin.changed(requests: -1, connections: answer.isLast ? -1 : 0)
      try? connections[index].socket.write(Array(answer.text.utf8))
      if answer.isLast { connections.remove(at: index).socket.close() }
    }

    private mutating func end(_ index: Int, reset: Bool = false) {
      let connection = connections.remove(at: index)
      origin.changed(requests: connection.isBusy ? -1 : 0, connections: -1)
      if reset { connection.socket.reset() } else { connection.socket.close() }
    }

    mutating func close() { while !connections.isEmpty { end(connections.count - 1) } }
  }
}
