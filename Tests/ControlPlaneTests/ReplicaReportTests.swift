import Discovery
import DiscoveryAPI
import Testing

@testable import ControlPlane

@Suite struct ReplicaReportTests {
  private let route = Weft_Mesh_V1_Route.typeURL
  private let policy = Weft_Mesh_V1_TrafficPolicy.typeURL

  private func key(_ name: String) -> ResourceKey { ResourceKey(typeURL: route, name: name) }

  private func report(digest: UInt64 = 7, streams: Int = 1) -> DeliveryReport {
    var report = DeliveryReport()
    report.digests = [route: digest, policy: 1]
    report.streams = [route: streams, policy: streams]
    return report
  }

  private func told(_ report: DeliveryReport) throws -> ReplicaReport {
    try #require(ReplicaReport(text: ReplicaReport(report).text))
  }

  @Test func whatAnotherReplicasNodesSayCountsAsOnesOwn() throws {
    var other = report(streams: 3)
    other.pending = [key("slow"): 2]
    other.rejected = [key("bad"): [.init(node: "z", reason: "no")]]
    var own = report()
    own.pending = [key("slow"): 1]
    own.rejected = [key("bad"): [.init(node: "zz", reason: "not here")]]
    let all = own.joined([try told(other), try told(report(streams: 0))])
    #expect(all.streams == [route: 4, policy: 4])
    #expect(all.pending == [key("slow"): 3])
    #expect(all.rejected[key("bad")]?.map(\.node) == ["z", "zz"])
    #expect(all.unsettled.isEmpty)
  }

  @Test func aReplicaThatHoldsSomethingElseSettlesNothing() throws {
    var other = report(digest: 8, streams: 3)
    other.rejected = [key("bad"): [.init(node: "a", reason: "of yesterday")]]
    let all = report().joined([try told(other)])
    #expect(all.unsettled == [route: ""] && !all.isSettled(key("any")))
    #expect(all.rejected.isEmpty && all.streams == [route: 1, policy: 4])
  }

  @Test func aReportIsBounded() throws {
    var other = report()
    for index in 0..<1000 {
      other.pending[key("pending-\(index)" + String(repeating: "x", count: 500))] = 1
      other.rejected[key("refused-\(index)" + String(repeating: "y", count: 500))] = (0..<100).map {
        .init(node: "node-\($0)", reason: String(repeating: "é", count: 4000))
      }
    }
    let read = try told(other)
    #expect(ReplicaReport(other).text.utf8.count < ReplicaReport.maximumText)
    #expect(!report().joined([read]).isSettled(key("refused")), "what isn't told may be one that is refused")
    #expect(read.kinds[policy]?.toldTo == nil)
  }

  @Test func namesBeforeTheLastThatIsToldAreSettled() throws {
    var other = report()
    for index in 0..<40 { other.pending[key("name-\(10 + index)")] = 1 }
    let all = report().joined([try told(other)])
    #expect(all.pending.count == 32 && all.unsettled == [route: "name-41"])
    #expect(all.isSettled(key("name-09")) && !all.isSettled(key("name-42")))
  }

  @Test func ofAReplicaThatDoesNotTellNothingIsKnown() {
    let all = report().joined([nil])
    #expect(all.unsettled == [route: "", policy: ""] && all.streams == report().streams)
  }

  @Test(arguments: ["", "{}", "[]", "{\"beat\":1,\"kinds\":{\"a\":{}}}", String(repeating: "x", count: 300_000)])
  func whatIsNoReportIsNone(_ text: String) {
    #expect(ReplicaReport(text: text) == nil)
  }
}
