import Testing

extension EndToEnd {
  /// The deployment strategies of `examples/`: each on a lab of its own, checked by counting requests.
  @Suite(.serialized)
  struct ExampleTests {
    @Test(
      "the example does what its README says",
      arguments: [
        "canary", "ab", "blue-green", "dark-launch", "zone-failover", "circuit-breaker", "retry-budget",
      ])
    func example(name: String) throws {
      let done = try TestLab.script("examples/check.py", arguments: [name], timeout: 180)
      #expect(done.status == 0, "\(done.output)\(done.errors)")
    }
  }
}
