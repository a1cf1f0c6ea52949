import Testing

extension EndToEnd {
  /// Weft and the real Envoy over HBONE, each as client and as server of the other. The steps, and what each checks,
  /// stand in `Tests/Interop/envoy_interop.py`, which takes Envoy from where the benchmarks keep theirs.
  @Suite(.serialized)
  struct EnvoyInteropTests {
    @Test("Envoy and Weft carry each other's streams, and refuse each other's strangers")
    func envoyInterop() throws {
      let done = try TestLab.script("Tests/Interop/envoy_interop.py", timeout: 180)
      #expect(done.status == 0, "\(done.output)\(done.errors)")
    }
  }
}
