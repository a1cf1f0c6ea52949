import Glibc
import ProxyRuntime

do {
  try ProxyProgram(arguments: Array(CommandLine.arguments.dropFirst())).run()
} catch let error as ProxyProgram.UsageError {
  fputs("weft-proxy: \(error)\n\(ProxyProgram.usage)\n", stderr)
  exit(2)
} catch {
  fputs("weft-proxy: \(error)\n", stderr)
  exit(1)
}
