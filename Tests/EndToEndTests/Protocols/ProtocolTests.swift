import Foundation
import Testing

extension EndToEnd {
  /// Every protocol that the mesh reads or carries, through real clients and servers, within a node and across nodes.
  ///
  /// `Programs/protocols` has the mesh and the programs; each prints what it saw as JSON, and the tests judge it.
  @Suite(.serialized, .pythonPackages, .lab("e2eproto", programs: "protocols"))
  struct ProtocolTests {
    /// The Services, whose pods of the same name are on the client's node and on the other one.
    static let places = ["near", "far"]

    let lab: TestLab

    init() throws { lab = try TestLab.running() }

    /// What a program says of a place's checks.
    func checks(_ program: String, _ place: String, _ names: String..., timeout: Double = 60) throws -> Facts {
      let address = try lab.addresses(place).v4
      let arguments = ["python3", "\(TestLab.programs)/protocols/\(program)", place, address] + names
      return try Facts(of: lab.exec("client", arguments, timeout: timeout), named: "\(program) \(place) \(names)")
    }

    /// What a program of the machine prints, inside the client's pod.
    func run(_ command: String..., timeout: Double = 20) throws -> String {
      let done = try lab.exec("client", command, timeout: timeout)
      guard done.status == 0 else {
        throw TestFailure("\(command.joined(separator: " ")): status \(done.status): \(done.output)\(done.errors)")
      }
      return done.output
    }
  }
}
