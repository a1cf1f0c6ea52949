import Foundation
import Testing

@testable import AgentCore

@Suite struct ContainerResourcesTests {
  private func folder(_ files: [String: String]) throws -> String {
    let path = NSTemporaryDirectory() + "weft-resources-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    for (name, text) in files { try text.write(toFile: "\(path)/\(name)", atomically: false, encoding: .utf8) }
    return path
  }

  private func read(_ path: String) -> String? { try? String(contentsOfFile: path, encoding: .utf8) }

  @Test func limitsAndRequestsAreTakenAlong() throws {
    let container = try folder(["memory.max": "1073741824\n", "cpu.weight": "40\n", "pids.max": "7\n"])
    let outside = try folder(["memory.max": "", "cpu.weight": "", "pids.max": ""])
    #expect(ContainerResources.take(from: container, to: outside).isEmpty)
    #expect(read(outside + "/memory.max") == "1073741824" && read(outside + "/cpu.weight") == "40")
    #expect(read(outside + "/pids.max") == "")
  }

  @Test func whatCanNotBeSetIsSaid() throws {
    let container = try folder(["memory.max": "max\n", "cpu.weight": "nonsense\n"])
    let problems = ContainerResources.take(from: container, to: try folder([:]))
    #expect(problems.count == 1 && problems[0].contains("memory.max max isn't set on"))
    #expect(ContainerResources.take(from: try folder([:]), to: container).isEmpty, "no controller, no bound")
  }
}
