import Foundation

/// A Python process in a pod's cgroup and network namespace that runs what it's told: an application with real sockets.
final class PodProcess {
  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()
  private var buffered: [UInt8] = []

  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  private static let driver = """
    import json, os, socket, struct, sys, threading, time
    socket.setdefaulttimeout(5)
    scope = dict(globals())
    for line in sys.stdin:
      scope['r'] = None
      try:
        exec(json.loads(line), scope)
        answer = {'r': scope['r']}
      except OSError as e:
        answer = {'r': type(e).__name__ + ' ' + str(e.errno)}
      except Exception as e:
        answer = {'error': repr(e)}
      print(json.dumps(answer), flush=True)
    """

  /// - Parameter namespace: a path that the kernel knows the network namespace by.
  init(cgroup: String, namespace: String) throws {
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = [
      "-c", "echo $$ > \"$0/cgroup.procs\" && exec nsenter --net=\"$1\" python3 -u -c \"$2\"", cgroup, namespace,
      Self.driver,
    ]
    process.standardInput = input
    process.standardOutput = output
    try process.run()
  }

  /// Runs statements; the JSON of what they leave in `r`, or the name and number of an OSError.
  @discardableResult
  func run(_ code: String) throws -> String {
    try send(code)
    return try answer()
  }

  /// Without waiting for the end; `answer()` does.
  func send(_ code: String) throws {
    let line = try JSONEncoder().encode([code])
    try input.fileHandleForWriting.write(contentsOf: line.dropFirst().dropLast() + Data("\n".utf8))
  }

  func answer() throws -> String {
    while !buffered.contains(UInt8(ascii: "\n")) {
      let chunk = output.fileHandleForReading.availableData
      guard !chunk.isEmpty else { throw Failure(description: "the pod's process ended") }
      buffered += chunk
    }
    let end = buffered.firstIndex(of: UInt8(ascii: "\n")) ?? buffered.endIndex
    let line = String(decoding: buffered[..<end], as: UTF8.self)
    buffered.removeSubrange(...end)
    guard line.hasPrefix("{\"r\": ") else { throw Failure(description: line) }
    return String(line.dropFirst("{\"r\": ".count).dropLast())
  }

  func stop() {
    try? input.fileHandleForWriting.close()
    process.waitUntilExit()
    try? output.fileHandleForReading.close()
  }
}

/// Runs a program to its end.
@discardableResult
func shell(_ command: String) throws -> String {
  let process = Process()
  let output = Pipe()
  process.executableURL = URL(fileURLWithPath: "/bin/sh")
  process.arguments = ["-ec", command]
  process.standardOutput = output
  process.standardError = output
  try process.run()
  let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
  process.waitUntilExit()
  guard process.terminationStatus == 0 else { throw PodProcess.Failure(description: "\(command): \(text)") }
  return text
}
