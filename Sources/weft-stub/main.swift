import Glibc
import StubHandoff
import StubRuntime

let arguments = CommandLine.arguments
exit(
  arguments.dropFirst().first == "handoff"
    ? HandoffProgram.run(arguments.dropFirst(2)) : StubProgram.main(arguments))
