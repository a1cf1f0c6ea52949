import Glibc
import StubRuntime

exit(StubProgram.main(CommandLine.arguments))
