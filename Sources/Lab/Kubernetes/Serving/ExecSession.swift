import CLinux
import Dispatch
import Foundation
import NIOCore
import NIOWebSocket
import Synchronization

/// A command in a container and the connection that it belongs to. A thread of its own carries what the command writes:
/// each piece waits until the one before has been written.
final class ExecSession: Sendable {
  private static let piece = 32 << 10
  /// How long output is waited for that a command's children hold open after its end, in milliseconds.
  private static let lingering = 500

  private struct State {
    /// The writing end of the command's input.
    var input: CInt = -1
    var pidfd: CInt = -1
    var isAbandoned = false
  }

  private let exec: KubeletRequest.Exec
  private let container: ContainerName
  private let containers: any ContainerAccess
  private let channel: any Channel
  private let state = Mutex(State())
  /// Writes the input, which may block; what comes before the command has been started waits.
  private let writing = DispatchQueue(label: "weft.lab.exec.input", attributes: .initiallyInactive)

  init(
    _ exec: KubeletRequest.Exec, in container: ContainerName, of containers: any ContainerAccess,
    over channel: any Channel
  ) {
    self.exec = exec
    self.container = container
    self.containers = containers
    self.channel = channel
  }

  func start() {
    Thread.detachNewThread { [self] in
      let told: ExecStatus
      do { told = .exited(try run()) } catch { told = .failed("\(error)") }
      writing.activate()
      // An error is the client's having gone.
      try? send(ExecChannel.end, told.json)
      var reason = channel.allocator.buffer(capacity: 2)
      reason.writeInteger(UInt16(1000))
      try? channel.writeAndFlush(WebSocketFrame(fin: true, opcode: .connectionClose, data: reason)).wait()
      channel.close(promise: nil)
    }
  }

  /// Calls `done` when the command has taken the bytes, or takes none.
  func write(_ bytes: [UInt8], done: @escaping @Sendable () -> Void) {
    writing.async { [self] in
      let input = state.withLock { $0.input }
      var rest = bytes[...]
      while input >= 0, !rest.isEmpty {
        let written = rest.withUnsafeBytes { Foundation.write(input, $0.baseAddress, $0.count) }
        if written < 0 && errno == EINTR { continue }
        guard written > 0 else { break }
        rest = rest.dropFirst(written)
      }
      done()
    }
  }

  func endInput() {
    writing.async { [self] in closeInput() }
  }

  /// The client has gone: so does the command.
  func abandon() {
    state.withLock { state in
      state.isAbandoned = true
      if state.pidfd >= 0 { _ = weft_pidfd_kill(state.pidfd, SIGKILL) }
    }
    endInput()
  }

  // MARK: The thread

  /// The command's exit status; 128 + N by signal N.
  private func run() throws -> Int32 {
    var launch = try containers.launch(exec.command, in: container)
    let output = try exec.hasOutput ? DescriptorPair.make() : nil
    let errors = try exec.hasErrors ? DescriptorPair.make() : nil
    let input = try exec.hasInput ? DescriptorPair.make() : nil
    launch.standardInput = input?.reading ?? -1
    launch.standardOutput = output?.writing ?? -1
    launch.standardError = errors?.writing ?? -1
    let started = Result { try launch.spawn() }
    for end in [input?.reading, output?.writing, errors?.writing] { if let end { close(end) } }
    defer { for end in [output?.reading, errors?.reading] { if let end { close(end) } } }
    guard case .success(let pid) = started else {
      if let input { close(input.writing) }
      return Int32(try started.get())
    }
    let pidfd = weft_pidfd_open(pid)
    let isAbandoned = state.withLock { state in
      state.input = input?.writing ?? -1
      state.pidfd = pidfd
      return state.isAbandoned
    }
    writing.activate()
    if isAbandoned { abandon() }
    carry([(output?.reading, ExecChannel.output), (errors?.reading, ExecChannel.errors)], until: pidfd)
    _ = weft_pidfd_kill(pidfd, channel.isActive ? 0 : SIGKILL)
    let status = weft_wait_child(pid)
    state.withLock { $0.pidfd = -1 }
    close(pidfd)
    endInput()
    return status < 256 ? status : status - 256 + 128
  }

  /// Until the process has ended and its output too, or the client has gone.
  private func carry(_ streams: [(CInt?, UInt8)], until pidfd: CInt) {
    var open = streams.compactMap { stream in stream.0.map { (descriptor: $0, channel: stream.1) } }
    var end: ContinuousClock.Instant?
    while true {
      var polled = open.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
      if end == nil { polled.append(pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)) }
      if polled.isEmpty { return }
      let count = poll(&polled, nfds_t(polled.count), end == nil ? -1 : CInt(Self.lingering))
      if count < 0 && errno == EINTR { continue }
      if let end, count <= 0 || end < .now { return }
      for index in open.indices.reversed() where polled[index].revents != 0 {
        guard let data = Self.read(open[index].descriptor) else {
          open.remove(at: index)
          continue
        }
        guard (try? send(open[index].channel, data)) != nil else { return }
      }
      if end == nil, polled.last?.revents != 0 {
        end = .now + .milliseconds(Self.lingering)
      }
    }
  }

  /// nil: the end.
  private static func read(_ descriptor: CInt) -> [UInt8]? {
    let data = [UInt8](unsafeUninitializedCapacity: piece) { buffer, count in
      var length = -1
      repeat {
        length = Foundation.read(descriptor, buffer.baseAddress, buffer.count)
      } while length < 0
        && errno == EINTR
      count = max(0, length)
    }
    return data.isEmpty ? nil : data
  }

  private func send(_ kind: UInt8, _ bytes: [UInt8]) throws {
    var buffer = channel.allocator.buffer(capacity: bytes.count + 1)
    buffer.writeInteger(kind)
    buffer.writeBytes(bytes)
    try channel.writeAndFlush(WebSocketFrame(fin: true, opcode: .binary, data: buffer)).wait()
  }

  private func closeInput() {
    let input = state.withLock { state in
      defer { state.input = -1 }
      return state.input
    }
    if input >= 0 { close(input) }
  }
}

/// The two ends, closed at exec.
private struct DescriptorPair {
  var reading: CInt
  var writing: CInt

  static func make() throws -> DescriptorPair {
    var ends: [CInt] = [-1, -1]
    guard weft_lab_pipe(&ends) == 0 else { throw LabError("no pipe can be made: \(Errno.text(errno))") }
    return DescriptorPair(reading: ends[0], writing: ends[1])
  }
}

/// How a command ended, as a `Status` object says it.
enum ExecStatus: Equatable {
  case exited(Int32)
  /// It never ran.
  case failed(String)

  var json: [UInt8] {
    struct Status: Encodable {
      struct Details: Encodable {
        struct Cause: Encodable { var reason, message: String }
        var causes: [Cause]
      }
      var metadata: [String: String] = [:]
      var status = "Failure"
      var message, reason: String?
      var details: Details?
      var code: Int?
    }
    let status =
      switch self {
      case .exited(0): Status(status: "Success")
      case .exited(let code):
        Status(
          message: "command terminated with non-zero exit code: \(code)", reason: "NonZeroExitCode",
          details: .init(causes: [.init(reason: "ExitCode", message: "\(code)")]))
      case .failed(let reason): Status(message: reason, reason: "InternalError", code: 500)
      }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // A structure of texts and numbers always encodes.
    return Array((try? encoder.encode(status)) ?? Data())
  }
}
