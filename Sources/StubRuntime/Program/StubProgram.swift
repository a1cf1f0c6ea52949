import CLinux
import CStub
import Glibc
import StubCore

/// The commands of `weft-stub`. Exit codes: 0 done; 1 it failed, or isn't ready; 2 a command line that can't be used.
public enum StubProgram {
  static let usage = """
    usage: weft-stub run --pod NAMESPACE/NAME --pod-ip IP[,IP] --service-account NAME --control HOST:PORT --ca-file FILE
                         (--join HOST:PORT --token-file FILE | --certificate FILE --key FILE)
                         [--host-ip IP[,IP]] [--trust-domain NAME] [--drain-seconds N] [--linger-seconds N] [--connections N]
                         [--end-with-application]
           weft-stub init [--remove] [--backend auto|nftables|iptables] [--user ID] [--exclude-outbound-ports P,...]
                         [--exclude-inbound-ports P,...] [--exclude-cidrs NET,...]
           weft-stub wait [--timeout SECONDS]     until the stub is ready
           weft-stub status                       of the stub in this network namespace, as JSON
           weft-stub quit                         it ends when its connections have

    """

  public static func main(_ arguments: [String]) -> Int32 {
    let rest = arguments.dropFirst(2)
    // A peer that has gone is an error of its call, not this program's end.
    signal(SIGPIPE, SIG_IGN)
    do throws(OptionError) {
      switch arguments.dropFirst().first {
      case "run": return run(try RunOptions(rest))
      case "init": return initialize(try InitOptions(rest))
      case "wait": return wait(try WaitOptions(rest))
      case "status": return ask("status")
      case "quit": return ask("quit")
      case "help", "--help":
        write(usage, to: 1)
        return 0
      default:
        write(usage, to: 2)
        return 2
      }
    } catch {
      write("weft-stub: \(error)\n", to: 2)
      return 2
    }
  }

  private static func run(_ options: RunOptions) -> Int32 {
    stub_keep_memory_small()
    _ = weft_forbid_dumps()
    let restricted = weft_restrict_system_calls()
    guard restricted == 0 else { return fail("can't restrict system calls: \(String(cString: strerror(-restricted)))") }
    do throws(SystemFailure) {
      try Stub(options).run()
      return 0
    } catch {
      return fail(error.description)
    }
  }

  private static func initialize(_ options: InitOptions) -> Int32 {
    do throws(CredentialsFailure) {
      try CaptureStep.run(options)
      write(options.removes ? "weft-stub: the redirect is removed\n" : "weft-stub: TCP is redirected\n", to: 1)
      return 0
    } catch {
      return fail(error.description)
    }
  }

  private static func wait(_ options: WaitOptions) -> Int32 {
    let end = Loop.clock() + Int64(options.seconds) * 1_000_000_000
    var said = "nothing answers"
    repeat {
      if let answer = exchange("status") {
        if answer.contains("\"ready\":true") { return 0 }
        said = answer
      }
      usleep(50_000)
    } while Loop.clock() < end
    return fail("not ready after \(options.seconds) s: \(said)")
  }

  private static func ask(_ word: String) -> Int32 {
    guard let answer = exchange(word), !answer.isEmpty else {
      return fail("no stub answers in this network namespace (or it isn't this user's)")
    }
    write(answer, to: 1)
    return 0
  }

  private static func exchange(_ word: String) -> String? {
    let fd = stub_connect_local(RunOptions.adminName)
    guard fd >= 0 else { return nil }
    defer { close(fd) }
    write(word + "\n", to: fd)
    var answer: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while answer.count < 64 << 10 {
      let count = read(fd, &chunk, chunk.count)
      guard count > 0 else { break }
      answer += chunk[..<count]
    }
    return String(decoding: answer, as: UTF8.self)
  }

  private static func fail(_ reason: String) -> Int32 {
    write("weft-stub: \(reason)\n", to: 2)
    return 1
  }

  private static func write(_ text: String, to fd: Int32) {
    var text = text
    text.withUTF8 { _ = Glibc.write(fd, $0.baseAddress, $0.count) }
  }
}
