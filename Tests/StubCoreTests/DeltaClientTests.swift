import MeshModel
import Testing

@testable import StubCore

struct DeltaClientTests {
  @Test func firstAsksForEverythingAndIsCompleteOnceEachTypeIsAnswered() throws {
    var client = DeltaClient(trustDomain: .clusterLocal)
    let requests = try client.start().map(fields)
    #expect(requests.map { $0[2] } == DeltaClient.typeURLs.map { [$0] })
    #expect(requests.allSatisfy { $0[3] == ["*"] && $0[5] == nil })
    for (index, url) in DeltaClient.typeURLs.enumerated() {
      #expect(!client.isComplete)
      let answer = try fields(reading(response(url, nonce: "\(index)")) { try client.receive($0) })
      #expect(answer[2] == [url] && answer[6] == ["\(index)"] && answer[7] == nil)
    }
    #expect(client.isComplete)
  }

  @Test func resumesFromTheVersionsThatAreInForce() throws {
    var client = DeltaClient(trustDomain: .clusterLocal)
    let url = DeltaClient.workloadURL
    for (name, version) in [("a", "00000000000000ff"), ("b", "v7")] {
      let message = response(url, nonce: "1", [("shop/\(name)", workload(name, "10.0.0.1"))], version: version)
      _ = try reading(message) { try client.receive($0) }
    }
    let resumed = try #require(client.start().map(fields).first { $0[2] == [url] })
    // Entries of a map: name 1, version 2.
    let entries = try #require(resumed[5]).map { try fields(Array($0.utf8)) }
    #expect(Set(entries.map { $0[2]?.first }) == ["00000000000000ff", "v7"])
    _ = try reading(response(url, nonce: "2", removed: ["shop/a"])) { try client.receive($0) }
    #expect(client.table.workload(id: "shop/a") == nil && client.table.workloadCount == 1)
    let again = try client.start().map(fields).first { $0[2] == [url] }
    #expect(again?[5]?.count == 1)
  }

  @Test func aResourceThatCantBeUsedIsRefusedByNameAndItsLastGoodVersionStays() throws {
    var client = DeltaClient(trustDomain: .clusterLocal)
    let url = DeltaClient.workloadURL
    _ = try reading(response(url, nonce: "1", [("shop/a", workload("a", "10.0.0.1"))])) { try client.receive($0) }
    var broken = ProtobufWriter()
    broken.text(1, "shop/a")
    broken.data(6, [1, 2, 3])
    let message = response(
      url, nonce: "2",
      [("shop/a", broken.bytes), ("shop/b", workload("b", "10.0.0.2")), ("shop/c", workload("x", "10.0.0.3"))])
    let answer = try fields(reading(message) { try client.receive($0) })
    let status = try #require(answer[7]?.first)
    let text = try #require(fields(Array(status.utf8))[2]?.first)
    #expect(text.contains("shop/a: addresses: 3 bytes") && text.contains("shop/c: its uid is shop/x"))
    #expect(client.table.workload(id: "shop/a")?.addresses == [IPAddress("10.0.0.1")!])
    #expect(client.table.workload(id: "shop/b") != nil && client.table.workload(id: "shop/x") == nil)
    #expect(client.rejected.count == 2)
  }

  @Test func whereNoMoreFitsWhatIsKnownStillChanges() throws {
    var client = DeltaClient(trustDomain: .clusterLocal, bound: 2)
    let url = DeltaClient.workloadURL
    func told(_ name: String, _ address: String) throws -> String? {
      let message = response(url, nonce: address, [("shop/\(name)", workload(name, address))])
      return try fields(reading(message) { try client.receive($0) })[7]?.first
    }
    #expect(try told("a", "10.0.0.1") == nil && told("b", "10.0.0.2") == nil)
    #expect(try told("c", "10.0.0.3")?.contains("more than 2 resources") == true)
    #expect(try told("a", "10.0.0.4") == nil)
    #expect(client.table.workload(id: "shop/a")?.addresses == [IPAddress("10.0.0.4")!])
  }

  @Test func aTypeThatWasNotAskedForIsRefused() throws {
    var client = DeltaClient(trustDomain: .clusterLocal)
    let answer = try fields(reading(response("type.googleapis.com/x.Y", nonce: "1")) { try client.receive($0) })
    #expect(answer[7] != nil && !client.isComplete)
  }

  /// Every prefix of a response is either read or refused, and never more than that.
  @Test func cutOffResponses() throws {
    let message = response(
      DeltaClient.workloadURL, nonce: "1", [("shop/a", workload("a", "10.0.0.1", probe: 8080))], removed: ["shop/z"])
    var refused = 0
    for length in 0..<message.count {
      var client = DeltaClient(trustDomain: .clusterLocal)
      do {
        _ = try reading(Array(message[..<length])) { try client.receive($0) }
      } catch {
        refused += 1
      }
    }
    #expect(refused > message.count / 2)
  }
}
