import Discovery
import Foundation
import Logging
import Observability
import Testing

@testable import ControlPlane

@Suite struct ReportTests {
  private func object(_ name: Int, accepted: Bool = true, reason: String = "") -> ObjectStatus {
    ObjectStatus(
      kind: "Node", namespace: "", name: "n\(name)", file: "a.yaml", line: 1, accepted: accepted, reason: reason)
  }

  @Test func theShapeOfTheFile() throws {
    let report = StatusReport(
      objects: [object(1, accepted: false, reason: "a.yaml:1: no")],
      nodes: [
        NodeStatus(
          node: "n1", connected: true, since: Date(timeIntervalSince1970: 1.5),
          nacked: [RejectedResource(typeURL: "t", name: "x", reason: "y")])
      ], generation: 7)
    let json = try #require(JSONSerialization.jsonObject(with: Data(report.json())) as? [String: Any])
    #expect(Set(json.keys) == ["objects", "nodes", "generation", "totals"])
    let expected: NSDictionary = [
      "generation": 7,
      "totals": ["accepted": 0, "refused": 1],
      "nodes": [
        [
          "node": "n1", "connected": true, "since": "1970-01-01T00:00:01.500Z",
          "nacked": [["type": "t", "name": "x", "reason": "y"]],
        ] as [String: Any]
      ],
      "objects": [
        [
          "kind": "Node", "namespace": "", "name": "n1", "file": "a.yaml", "line": 1, "accepted": false,
          "reason": "a.yaml:1: no",
        ] as [String: Any]
      ],
    ]
    #expect(json as NSDictionary == expected)
  }

  @Test func aBigMeshListsWhatMatters() {
    var objects = (0..<20_000).map { object($0) }
    objects.append(object(20_000, accepted: false, reason: "refused"))
    objects.append(object(20_001, reason: "ignored"))
    let report = StatusReport(objects: objects, nodes: [], generation: 1)
    #expect(report.totals == .init(accepted: 20_001, refused: 1))
    #expect(report.objects.count == StatusReport.maximumAccepted + 2)
    #expect(report.objects.suffix(2).map(\.reason) == ["refused", "ignored"])
  }

  @Test func logLinesAreJSON() throws {
    let line = JSONLogHandler.line(
      time: Date(timeIntervalSince1970: 0), level: .error, program: "weft-control",
      message: "a \"quoted\"\nline \\ \u{1} \u{e9}", metadata: ["file": "a.yaml", "b": "\("x")"])
    #expect(line.last == UInt8(ascii: "\n") && line.count { $0 == UInt8(ascii: "\n") } == 1)
    let json = try JSONSerialization.jsonObject(with: Data(line)) as? [String: String]
    #expect(
      json == [
        "time": "1970-01-01T00:00:00.000Z", "level": "error", "program": "weft-control",
        "message": "a \"quoted\"\nline \\ \u{1} \u{e9}", "file": "a.yaml", "b": "x",
      ])
  }

  @Test func aStatusFileThatCannotBeWrittenIsNoDisaster() {
    let file = StatusFile(path: "/nowhere/status.json", logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    {
      StatusReport(objects: [], nodes: [], generation: 0)
    }
    #expect(!file.write(StatusReport(objects: [], nodes: [], generation: 0)))
  }
}
