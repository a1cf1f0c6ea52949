import ArgumentParser
import Lab

struct Capture: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows the packets on the link between two nodes (tcpdump).",
    discussion: """
      After -- come tcpdump's own arguments: options such as -X, then a filter expression. "listening on" on \
      standard error says that from now on every packet is seen. Example: \
      weft-lab capture --between east west --seconds 3 -- -A tcp port 8000
      """)

  @Option(parsing: .upToNextOption, help: "The two nodes.")
  var between: [String]
  @Option(help: "How long (default: until it is interrupted).")
  var seconds: Double?
  @Option(help: "A pcap file to write instead of printing.")
  var write: String?
  @OptionGroup var lab: LabOption
  @Argument(parsing: .allUnrecognized, help: "Options and filter of tcpdump.")
  var filter: [String] = []

  func validate() throws {
    guard between.count >= 2 else { throw ValidationError("--between takes two nodes: --between east west") }
    if let seconds, !(seconds > 0 && seconds <= 86_400) {
      throw ValidationError("--seconds takes more than 0, to 86400")
    }
  }

  func run() throws {
    var capture = LinkCapture(lab: try lab.labName(), nodes: (between[0], between[1]))
    capture.seconds = seconds
    capture.file = write
    // What follows the two nodes without an option between belongs to the filter.
    let filter = self.filter.first == "--" ? Array(self.filter.dropFirst()) : self.filter
    capture.arguments =
      filter.filter { $0.hasPrefix("-") } + between.dropFirst(2) + filter.filter { !$0.hasPrefix("-") }
    let status = try capture.run()
    if status != 0 { throw ExitCode(status) }
  }
}
