import Testing

/// Makes sure that the Python packages of `packages.py` are there, before a lab whose pods need them.
struct PythonPackages: SuiteTrait {
  func prepare(for test: Test) async throws {
    let done = try TestLab.script("Tests/EndToEndTests/Programs/packages.py", timeout: 180)
    guard done.status == 0 else { throw TestFailure("packages.py: \(done.output)\(done.errors)") }
  }
}

extension Trait where Self == PythonPackages {
  static var pythonPackages: PythonPackages { PythonPackages() }
}
