import Glibc
import ProxyRuntime

func fail(_ message: String, status: Int32) -> Never {
  let line = Array("weft-proxy: \(message)\n".utf8)
  _ = write(STDERR_FILENO, line, line.count)
  exit(status)
}

do {
  try ProxyProgram(arguments: Array(CommandLine.arguments.dropFirst())).run()
} catch let error as ProxyProgram.UsageError {
  fail("\(error)\n\(ProxyProgram.usage)", status: 2)
} catch {
  fail("\(error)", status: 1)
}
