import ArgumentParser
import Lab

struct Echo: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "A small server that tells each client whom it sees, and echoes.",
    discussion: """
      TCP: on the first byte, or the end of the client's stream, a line "peer=IP:PORT local=IP:PORT name=TEXT", then \
      every byte as it came. A stream beginning with "GET " is HTTP, and each request is answered with the same facts \
      as JSON. UDP: each datagram goes back.
      """)

  @Option(help: "A TCP port; may be given several times.")
  var tcp: [UInt16] = []
  @Option(help: "A UDP port; may be given several times.")
  var udp: [UInt16] = []
  @Option(help: "The name that it gives.")
  var name = "echo"
  @Flag(help: "Sends the first line at once, as server-first protocols do; no HTTP.")
  var greetFirst = false
  @Option(
    help:
      "Told to end by SIGTERM, how many seconds it serves on, as a server of endpoints has to that others still know.")
  var drain: UInt32 = 0

  func validate() throws {
    guard !tcp.isEmpty || !udp.isEmpty else { throw ValidationError("give --tcp PORT or --udp PORT") }
    guard drain <= 3600 else { throw ValidationError("--drain takes up to 3600 seconds") }
    guard !name.contains(where: \.isNewline) else { throw ValidationError("--name takes one line") }
  }

  func run() throws {
    var options = EchoServer.Options()
    options.tcpPorts = tcp
    options.udpPorts = udp
    options.name = name
    options.greetsFirst = greetFirst
    options.drainSeconds = drain
    try EchoServer(options).run()
  }
}
