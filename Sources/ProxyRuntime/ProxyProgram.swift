import CLinux
import Glibc
import ProxyCore

/// The proxy as a program: its arguments, its threads.
public struct ProxyProgram {
  /// Bound by the agent, listening; the agent connects to it.
  var controlFD: Int32 = 3
  var workers = 1
  var level = LogLevel.info

  public static let usage = "usage: weft-proxy --control-fd FD --workers N [--log-level debug|info|warning|error]"

  public struct UsageError: Error, CustomStringConvertible {
    public let description: String
  }

  /// - Parameter arguments: without the program's name.
  public init(arguments: [String]) throws(UsageError) {
    var rest = arguments[...]
    while let option = rest.popFirst() {
      guard let value = rest.popFirst() else { throw UsageError(description: "\(option) needs a value") }
      switch option {
      case "--control-fd":
        guard let fd = Int32(value), fd >= 3 else {
          throw UsageError(description: "--control-fd \(value): a number from 3")
        }
        controlFD = fd
      case "--workers":
        guard let count = Int(value), 1...256 ~= count else {
          throw UsageError(description: "--workers \(value): a number from 1 to 256")
        }
        workers = count
      case "--log-level":
        let levels: [String: LogLevel] = ["debug": .debug, "info": .info, "warning": .warning, "error": .error]
        guard let level = levels[value] else {
          throw UsageError(description: "--log-level \(value): \(levels.keys.sorted())")
        }
        self.level = level
      default: throw UsageError(description: "unknown option \(option)")
      }
    }
  }

  /// Serves until drained, or forever.
  public func run() throws {
    signal(SIGPIPE, SIG_IGN)
    weft_keep_freed_memory()
    guard weft_forbid_dumps() == 0 else { throw SystemError(errno, "forbid core dumps") }
    let restricted = weft_restrict_system_calls()
    guard restricted == 0 else { throw SystemError(-restricted, "restrict system calls") }
    let events = try Mailbox<WorkerEvent>()
    var mailboxes: [Mailbox<WorkerCommand>] = []
    for index in 0..<workers {
      let commands = try Mailbox<WorkerCommand>()
      mailboxes.append(commands)
      let level = level
      try Self.startThread("worker-\(index)") {
        do {
          try Worker(index: index, level: level, commands: commands, events: events).run()
        } catch {
          events.post(.log(.error, "worker \(index): \(error)"))
        }
      }
    }
    try ControlThread(
      listener: controlFD, workers: mailboxes, events: events, logger: ProxyLogger(level: level)
    ).run()
  }

  private final class Body {
    let name: String
    let run: @Sendable () -> Void

    init(_ name: String, _ run: @escaping @Sendable () -> Void) {
      self.name = name
      self.run = run
    }
  }

  private static func startThread(_ name: String, _ run: @escaping @Sendable () -> Void) throws(SystemError) {
    var thread = pthread_t()
    let code = pthread_create(
      &thread, nil,
      { argument in
        let body = Unmanaged<Body>.fromOpaque(argument!).takeRetainedValue()
        weft_name_thread(body.name)
        body.run()
        return nil
      }, Unmanaged.passRetained(Body(name, run)).toOpaque())
    guard code == 0 else { throw SystemError(code, "start a thread") }
    pthread_detach(thread)
  }
}
