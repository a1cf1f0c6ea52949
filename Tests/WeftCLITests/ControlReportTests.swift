import FoundationEssentials
import Testing

@testable import CLI

@Suite struct ControlReportTests {
  private static let json = """
    {"generation":7,"nodes":[],"totals":{"accepted":2,"refused":1},"objects":[
      {"kind":"Pod","namespace":"shop","name":"a","file":"a.yaml","line":1,"accepted":false,
       "reason":"a.yaml:1: no\\u001b[2J"},
      {"kind":"Node","namespace":"","name":"n1","file":"a.yaml","line":5,"accepted":true,"reason":""},
      {"kind":"HTTPRoute","namespace":"shop","name":"r","file":"a.yaml","line":9,"accepted":true,"reason":"x",
       "parents":[
         {"group":"","kind":"Service","namespace":"shop","name":"cart","port":80,"conditions":[
           {"type":"Accepted","status":"True","reason":"Accepted","message":""},
           {"type":"ResolvedRefs","status":"False","reason":"BackendNotFound","message":"there is no Service shop/v1"}]},
         {"group":"","kind":"Service","namespace":"shop","name":"cart","sectionName":"web","conditions":[
           {"type":"Accepted","status":"True","reason":"Accepted","message":""}]}]}]}
    """

  @Test func theConditionsStandBelowTheAgentsAnswer() throws {
    let report = try JSONDecoder().decode(ControlReport.self, from: Data(Self.json.utf8))
    let result = CommandResult(text: "Node  n1\n", status: .fine).adding(report)
    #expect(
      result.text == """
        Node  n1
        Pod shop/a: refused: a.yaml:1: no\\u{1B}[2J
        HTTPRoute shop/r at Service shop/cart:80: Accepted, not ResolvedRefs: BackendNotFound (there is no Service shop/v1)
        HTTPRoute shop/r at Service shop/cart:web: Accepted

        """)
    #expect(result.status == .unhealthy)
    let fine = CommandResult(text: "", status: .fine).adding(ControlReport(objects: []))
    #expect(fine == CommandResult(text: "", status: .fine))
  }

  @Test func aFileThatIsNoneIsSaidSo() {
    let missing = #expect(throws: Failure.self) { try ControlReport.read("/nowhere/status.json") }
    #expect(missing?.message.hasPrefix("/nowhere/status.json can't be read") == true)
    let other = #expect(throws: Failure.self) { try ControlReport.read("/proc/self/status") }
    #expect(other?.message.contains("is not the status.json") == true)
  }
}
