/// What can be checked on this machine without an agent.
enum LocalChecks {
  static func run() -> [CheckAnswer.Entry] { [] }
}
