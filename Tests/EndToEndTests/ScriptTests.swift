import Testing

extension EndToEnd {
  /// The demo, and what outlives what, as tests: scripts that check each of their lines on a mesh of their own.
  @Suite(.serialized)
  struct ScriptTests {
    @Test("every line of the demo holds")
    func demo() throws { try pass("demo/demo.py", within: 180) }

    @Test("crashes, restarts, rotation, a full disk and enrolment in circles")
    func resilience() throws { try pass("Tests/Resilience/resilience.py", within: 480) }

    private func pass(_ script: String, within seconds: Double) throws {
      let done = try TestLab.script(script, timeout: seconds)
      #expect(done.status == 0, "\(done.output)\(done.errors)")
    }
  }
}
