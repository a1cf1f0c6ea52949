import Discovery
import DiscoveryAPI
import KubernetesAPI
import Testing

@testable import ControlPlane

@Suite struct StatusDocumentTests {
  private let key = ObjectKey(kind: .httpRoute, name: ObjectName("shop", "r"))
  private let service: JSONNode = ["group": "", "kind": "Service", "name": "web", "port": 80]
  private let gateway: JSONNode = ["name": "edge"]
  private let good = [
    ObjectCondition("Accepted", "True", "Accepted", ""), ObjectCondition("ResolvedRefs", "True", "ResolvedRefs", ""),
  ]

  private func input(
    refs: [JSONNode]? = nil, status: JSONNode = .null, generation: Int = 1, conditions: [ObjectCondition]? = nil,
    refusal: String = ""
  ) throws -> StatusInput {
    let object: JSONNode = [
      "apiVersion": "gateway.networking.k8s.io/v1",
      "metadata": [
        "name": "r", "namespace": "shop", "resourceVersion": "5", "generation": .number(String(generation)),
      ],
      "spec": ["parentRefs": .array(refs ?? [gateway, service])], "status": status,
    ]
    var input = StatusInput(key: key, subject: try #require(StatusSubject(object, .httpRoute)))
    input.refusal = refusal
    input.parents = [ParentStatus(namespace: "shop", name: "web", port: 80, conditions: conditions ?? good)]
    return input
  }

  private func change(_ input: StatusInput, _ report: DeliveryReport? = nil, time: String = "t1") -> JSONNode? {
    var connected = DeliveryReport()
    connected.streams[Weft_Mesh_V1_Route.typeURL] = 1
    return StatusDocument(input, report ?? connected, time: time).change
  }

  private func condition(_ change: JSONNode?, _ type: String, parent: Int = 0) -> JSONNode? {
    let parents = change?["parents"]?.elements ?? []
    guard parent < parents.count else { return nil }
    return parents[parent]["conditions"]?.elements.first { $0["type"]?.text == type }
  }

  @Test func aRouteHasAnEntryForEachServiceAndNothingIsWrittenTwice() throws {
    let first = try #require(change(try input()))
    #expect(first["parents"]?.elements.count == 1)
    #expect(first["parents"]?.elements[0]["parentRef"] == service)
    #expect(condition(first, "Programmed")?["status"] == "True")
    #expect(condition(first, "Accepted")?["lastTransitionTime"] == "t1")
    #expect(change(try input(status: first), time: "t2") == nil)
    // What an API server's defaults add is no difference.
    var entry = first["parents"]?.elements[0]
    guard case .object(var members)? = entry else { return }
    members[0].value = ["group": "", "kind": "Service", "namespace": "shop", "name": "web", "port": 80]
    entry = .object(members)
    #expect(change(try input(status: ["parents": [entry ?? .null]]), time: "t2") == nil)
  }

  @Test func othersEntriesStayAndOwnOnesGoWithTheirParents() throws {
    let other: JSONNode = ["parentRef": gateway, "controllerName": "other/c", "conditions": [], "more": ["x": 1]]
    let first = try #require(change(try input(status: ["parents": [other]])))
    #expect(first["parents"]?.elements.first == other && first["parents"]?.elements.count == 2)
    let gone = try #require(change(try input(refs: [gateway], status: first)))
    #expect(gone["parents"] == [other])
    #expect(change(try input(refs: [gateway], status: gone)) == nil)
    #expect(change(try input(refs: [gateway])) == nil)
  }

  /// There is room for 32 entries: what doesn't fit isn't written again and again.
  @Test func othersEntriesComeFirstWhereThereIsNoRoom() throws {
    let others = (0..<StatusDocument.maximumParents).map { index -> JSONNode in
      ["parentRef": ["name": .text("edge-\(index)")], "controllerName": "other/c", "conditions": []]
    }
    #expect(change(try input(status: ["parents": .array(others)])) == nil)
    #expect(change(try input(status: ["parents": .array(Array(others.dropLast()))]))?["parents"]?.elements.count == 32)
  }

  @Test func timesChangeWithTheStatusOnly() throws {
    let first = try #require(change(try input()))
    let lost = [good[0], ObjectCondition("ResolvedRefs", "False", "BackendNotFound", "there is no Service x")]
    let second = try #require(change(try input(status: first, generation: 2, conditions: lost), time: "t2"))
    #expect(condition(second, "Accepted")?["lastTransitionTime"] == "t1")
    #expect(condition(second, "Accepted")?["observedGeneration"] == 2)
    #expect(condition(second, "ResolvedRefs")?["lastTransitionTime"] == "t2")
  }

  @Test func aRefusedRouteIsNotAccepted() throws {
    let refused = try #require(change(try input(refusal: "spec.rules[0]: no")))
    #expect(condition(refused, "Accepted")?["reason"] == "UnsupportedValue")
    #expect(condition(refused, "Accepted")?["message"] == "spec.rules[0]: no")
    #expect(condition(refused, "Programmed")?["status"] == "False")
  }

  @Test func programmedIsTheNodesWord() throws {
    let resource = try #require(key.resourceKey)
    var report = DeliveryReport()
    report.streams[resource.typeURL] = 5
    report.pending[resource] = 2
    let pending = try #require(change(try input(), report))
    #expect(condition(pending, "Programmed")?["reason"] == "Pending" && StatusDocument.isPending(pending))
    report.pending = [:]
    report.rejected[resource] = (1...5).map { .init(node: "n\($0)", reason: "no") }
    let rejected = condition(change(try input(), report), "Programmed")
    #expect(rejected?["reason"] == "RefusedByNode")
    #expect(rejected?["message"] == "node n1: no; node n2: no; node n3: no; and 2 more nodes")
    // A leader without nodes says so once, and takes nothing back that another one knew.
    #expect(condition(change(try input(), DeliveryReport()), "Programmed")?["status"] == "Unknown")
    let known = try #require(change(try input()))
    #expect(change(try input(status: known), DeliveryReport()) == nil)
    let newer = change(try input(status: known, generation: 2), DeliveryReport())
    #expect(condition(newer, "Programmed")?["status"] == "Unknown")
  }

  @Test func aPolicyHasConditionsBesideOthers() throws {
    let foreign: JSONNode = ["type": "Foreign", "status": "True"]
    let object: JSONNode = [
      "apiVersion": "weft.dev/v1alpha1",
      "metadata": ["name": "p", "namespace": "shop", "resourceVersion": "5", "generation": 3],
      "status": ["conditions": [foreign]],
    ]
    let key = ObjectKey(kind: .trafficPolicy, name: ObjectName("shop", "p"))
    var input = StatusInput(key: key, subject: try #require(StatusSubject(object, .trafficPolicy)))
    func parent(_ finding: Finding?) -> ParentStatus {
      ParentStatus(
        namespace: "shop", name: "web", conditions: [ObjectCondition("Accepted", finding, otherwise: "Accepted")])
    }
    func verdicts(_ parents: [ParentStatus]) -> [String] {
      input.parents = parents
      return change(input)?["conditions"]?.elements.map { "\($0["type"]?.text ?? "") \($0["reason"]?.text ?? "")" }
        ?? []
    }
    let lost = parent(Finding("TargetNotFound", "there is no Service shop/x"))
    #expect(verdicts([parent(nil)]).first == "Foreign ")
    #expect(verdicts([parent(nil)])[1...2] == ["Accepted Accepted", "ResolvedRefs ResolvedRefs"])
    #expect(verdicts([lost])[1...2] == ["Accepted TargetNotFound", "ResolvedRefs TargetNotFound"])
    #expect(verdicts([parent(nil), lost])[1...2] == ["Accepted Accepted", "ResolvedRefs TargetNotFound"])
    #expect(verdicts([parent(Finding("Conflicted", "older"))])[1] == "Accepted Conflicted")
  }

  @Test func eventsAreSaidOnceInAWhile() throws {
    var limits = EventLimits()
    let event = try #require(EventText(refused: key, "no"))
    let said = [0.0, 599, 600].map { limits.admit(event, now: $0) }
    #expect(said == [.send, .known, .send])
    limits.forget(event)
    let again = limits.admit(event, now: 601)
    #expect(again == .send, "it couldn't be said")
    let admitted = (0..<100).count { index in
      limits.admit(EventText(refused: key, "no \(index)")!, now: 2000) == .send
    }
    #expect(admitted == Int(EventLimits.burst))
    #expect(event.eventName == EventText(refused: key, "no")?.eventName)
    #expect(event.eventName != EventText(refused: key, "yes")?.eventName)
    let rejected = RejectedResource(typeURL: Weft_Mesh_V1_Workload.typeURL, name: "shop/a", reason: "x")
    #expect(EventText(rejected, node: "n1")?.kind == "Pod")
    #expect(EventText(RejectedResource(typeURL: "t", name: "", reason: "x"), node: "n1") == nil)
  }

  @Test func probes() {
    let health = Health()
    #expect(
      health.answer(.GET, "/healthz/live").0 == .ok && health.answer(.GET, "/healthz/ready").0 == .serviceUnavailable)
    health.isReady = true
    #expect(health.answer(.GET, "/healthz/ready?x").0 == .ok && health.answer(.GET, "/").0 == .notFound)
    #expect(health.answer(.POST, "/healthz/ready").0 == .methodNotAllowed)
  }
}
