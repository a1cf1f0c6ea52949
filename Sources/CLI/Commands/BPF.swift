import ArgumentParser

struct BPF: AgentCommand {
  static let configuration = CommandConfiguration(
    commandName: "bpf", abstract: "Shows the eBPF programs, their links, and how full the maps are.")
  static let path = "/v1/bpf"
  @OptionGroup var options: GlobalOptions

  func isHealthy(_ answer: BPFAnswer) -> Bool { !answer.programs.isEmpty && !answer.links.isEmpty }

  func table(_ answer: BPFAnswer, _ style: Style) -> String {
    var programs = Table(("NODE", .left), ("PROGRAM", .left), ("ID", .right), ("TYPE", .left), ("RUNS", .right))
    for program in answer.programs {
      programs.add(program.agent, program.name, "\(program.id)", program.type, program.runCount.map { "\($0)" })
    }
    var links = Table(("NODE", .left), ("LINK", .left), ("ID", .right), ("ATTACHED AS", .left), ("TO", .left))
    for link in answer.links { links.add(link.agent, link.name, "\(link.id)", link.attachType, link.target) }
    var maps = Table(
      ("NODE", .left), ("MAP", .left), ("ID", .right), ("TYPE", .left), ("ENTRIES", .right), ("ROOM FOR", .right),
      ("FULL", .right))
    for map in answer.maps {
      maps.add(
        map.agent, map.name, "\(map.id)", map.type, map.entries.map { "\($0)" }, "\(map.maxEntries)",
        map.entries.map { "\(map.maxEntries > 0 ? $0 * 100 / map.maxEntries : 0)%" })
    }
    return programs.render(none: "No eBPF programs are loaded: no pod's traffic is captured.") + "\n"
      + links.render(none: "No eBPF program is attached.") + "\n" + maps.render(none: "There are no eBPF maps.")
  }
}
