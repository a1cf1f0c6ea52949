import Discovery
import DiscoveryAPI
import Foundation
import MeshModel
import Testing

@testable import AgentCore

@Suite struct MeshStateTests {
  @Test func whatIsValidIsTakenAndTheRestRefusedByName() throws {
    var mesh = MeshState()
    #expect(!mesh.knowsWorkloads)
    var good = try Sample.workload("web")
    var bad = try Sample.workload("api")
    bad = ReceivedResource(name: bad.name, version: "1", value: Data([0xff]))
    let misnamed = ReceivedResource(name: "shop/other", version: "1", value: good.value)
    let (change, refused) = mesh.apply(
      DiscoveryUpdate(typeURL: Weft_Mesh_V1_Workload.typeURL, resources: [good, bad, misnamed], removed: []))
    #expect(change.workloads.map(\.uid) == ["shop/web"])
    #expect(refused.map(\.name) == ["shop/api", "shop/other"])
    #expect(refused[1].reason.contains("shop/other"))
    #expect(mesh.knowsWorkloads && mesh.workloads.keys.sorted() == ["shop/web"])
    // A bad version leaves the good one in force.
    good = ReceivedResource(name: good.name, version: "2", value: Data([0xff]))
    _ = mesh.apply(DiscoveryUpdate(typeURL: Weft_Mesh_V1_Workload.typeURL, resources: [good], removed: []))
    #expect(mesh.workloads["shop/web"] != nil)
  }

  @Test func routesAndPoliciesPassThrough() throws {
    var mesh = MeshState()
    let service = ServiceKey(namespace: "shop", name: "cart")
    let route = Route(namespace: "shop", name: "r", parents: [.init(service: service)])
    let policy = TrafficPolicy(namespace: "shop", name: "p", targets: [.init(kind: .service(service))])
    let messages = (Weft_Mesh_V1_Route(route), Weft_Mesh_V1_TrafficPolicy(policy))
    let broken = Weft_Mesh_V1_Route.with { $0.namespace = "Shop" }
    let (routes, refused) = mesh.apply(
      DiscoveryUpdate(
        typeURL: Weft_Mesh_V1_Route.typeURL,
        resources: [
          ReceivedResource(name: route.id, version: "1", value: try messages.0.serializedBytes()),
          ReceivedResource(name: "HTTPRoute/shop/s", version: "1", value: try messages.0.serializedBytes()),
          ReceivedResource(name: "HTTPRoute/Shop/t", version: "1", value: try broken.serializedBytes()),
        ], removed: []))
    #expect(routes.routes == [messages.0] && mesh.routes == [route.id: route])
    #expect(refused.map(\.name) == ["HTTPRoute/shop/s", "HTTPRoute/Shop/t"])
    #expect(refused.last?.reason.contains("namespace: is not a DNS label") == true, "\(refused)")
    let (policies, _) = mesh.apply(
      DiscoveryUpdate(
        typeURL: Weft_Mesh_V1_TrafficPolicy.typeURL,
        resources: [
          ReceivedResource(name: policy.id, version: "1", value: try messages.1.serializedBytes())
        ], removed: []))
    #expect(policies.policies == [messages.1] && mesh.policies == [policy.id: policy])
    let complete = mesh.allUpdates(replacing: true)
    #expect(complete.flatMap(\.routes) == [messages.0] && complete.flatMap(\.policies) == [messages.1])
    let (gone, _) = mesh.apply(
      DiscoveryUpdate(typeURL: Weft_Mesh_V1_Route.typeURL, resources: [], removed: [route.id]))
    let (also, _) = mesh.apply(
      DiscoveryUpdate(typeURL: Weft_Mesh_V1_TrafficPolicy.typeURL, resources: [], removed: [policy.id]))
    #expect(gone.removedRoutes == [route.id] && also.removedPolicies == [policy.id])
    #expect(mesh.routes.isEmpty && mesh.policies.isEmpty)
  }

  @Test func removedOnesGo() throws {
    var mesh = MeshState()
    _ = mesh.apply(try Sample.update([Sample.workload("web")]))
    let (change, refused) = mesh.apply(
      DiscoveryUpdate(typeURL: Weft_Mesh_V1_Workload.typeURL, resources: [], removed: ["shop/web", "shop/never"]))
    #expect(change.removedWorkloads == ["shop/web", "shop/never"] && refused.isEmpty)
    #expect(mesh.workloads.isEmpty)
  }

  @Test func aProxyIsToldEverythingInBoundedFrames() throws {
    var mesh = MeshState()
    let count = 12_000
    _ = mesh.apply(try Sample.update((0..<count).map { try Sample.workload("w\($0)") }))
    let updates = mesh.allUpdates(replacing: true)
    #expect(updates.map(\.complete) == [true] + Array(repeating: false, count: updates.count - 1))
    #expect(updates.map(\.more) == Array(repeating: true, count: updates.count - 1) + [false])
    #expect(updates.allSatisfy { $0.workloads.count <= 5000 })
    #expect(Set(updates.flatMap { $0.workloads.map(\.uid) }).count == count)
    #expect(!updates[0].hasConfig, "nobody has told it")
    let empty = MeshState().allUpdates(replacing: true)
    #expect(empty.map(\.complete) == [true] && !empty[0].more, "an empty mesh replaces what the proxy knew")
    #expect(mesh.allUpdates(replacing: false).allSatisfy { !$0.complete })
  }

  /// A frame holds 64 MiB, a resource up to 1.
  @Test func framesAreBoundedByTheirBytesToo() throws {
    var mesh = MeshState()
    _ = mesh.apply(try Sample.update((0..<100).map { try Sample.workload("w\($0)") }))
    let sizes = try mesh.allUpdates(replacing: true, bytesPerFrame: 1000).map {
      (try $0.serializedBytes() as Data).count
    }
    #expect(sizes.count > 1 && sizes.allSatisfy { $0 < 1500 }, "\(sizes)")
  }

  @Test func typesThatAreNotKnownAreRefused() {
    var mesh = MeshState()
    let (_, refused) = mesh.apply(
      DiscoveryUpdate(
        typeURL: "x/Unknown", resources: [ReceivedResource(name: "a", version: "1", value: Data())], removed: ["b"]))
    #expect(refused.map(\.name) == ["a"])
  }

  @Test func anUpdateIsTakenBack() throws {
    var mesh = MeshState(node: Sample.node)
    _ = mesh.apply(try Sample.update([Sample.workload("web", podUID: "u1"), Sample.workload("api")]))
    let before = mesh
    var undo: MeshUndo? = MeshUndo()
    var update = try Sample.update([
      Sample.workload("web", meshed: false, podUID: "u2"), Sample.workload("new", podUID: "u1"),
      Sample.workload("new", podUID: "u3"), Sample.workload("web", podUID: "u4"),
    ])
    update = DiscoveryUpdate(
      typeURL: update.typeURL, resources: update.resources, removed: ["shop/api", "shop/nobody"])
    _ = mesh.apply(update, noting: &undo)
    #expect(Set(mesh.workloads.keys) == ["shop/web", "shop/new"])
    mesh.revert(try #require(undo))
    #expect(mesh.workloads == before.workloads)
    #expect(mesh.workload(podUID: "u1")?.id == "shop/web")
    #expect(mesh.workload(podUID: "u3") == nil && mesh.workload(podUID: "u4") == nil)
    #expect(mesh.isMeshed(namespace: "shop"))
    _ = mesh.apply(DiscoveryUpdate(typeURL: update.typeURL, resources: [], removed: ["shop/api", "shop/web"]))
    #expect(!mesh.isMeshed(namespace: "shop"), "counted once")
  }
}

@Suite struct SnapshotSavingTests {
  private let second: UInt64 = 1_000_000_000

  @Test func aChangeIsSavedWithinASecondHoweverManyFollow() {
    var saving = SnapshotSaving()
    #expect(!saving.isDue(second))
    for step in 0..<10 { saving.changed(now: second + UInt64(step) * second / 20) }
    #expect(saving.isDue(second + second / 2))
    saving.began(now: 3 * second - 1)
    #expect(!saving.isDue(3 * second))
    saving.ended(true, now: 3 * second)
    #expect(!saving.isDirty)
  }

  @Test func aFailureIsTriedAgain() {
    var saving = SnapshotSaving()
    saving.changed(now: 0)
    saving.began(now: second)
    saving.ended(false, now: second)
    #expect(saving.isDirty && !saving.isDue(2 * second) && saving.isDue(6 * second))
  }

  @Test func aChangeDuringASaveIsSavedToo() {
    var saving = SnapshotSaving()
    saving.changed(now: 0)
    saving.began(now: second / 2)
    saving.changed(now: second)
    saving.ended(true, now: 2 * second)
    #expect(saving.isDue(2 * second))
    saving.changed(now: 2 * second)
    saving.began(now: 2 * second)
    // Read at the very moment of a change.
    saving.ended(true, now: 2 * second + second / 10)
    #expect(saving.isDirty)
  }

  @Test func aLargeStateIsSavedSoMuchLaterThatItTakesLittle() {
    var saving = SnapshotSaving()
    saving.changed(now: 0)
    saving.began(now: second)
    saving.ended(true, now: 2 * second)
    saving.changed(now: 3 * second)
    #expect(!saving.isDue(52 * second) && saving.isDue(53 * second))
    saving.began(now: 60 * second)
    saving.ended(true, now: 100 * second)
    saving.changed(now: 200 * second)
    #expect(!saving.isDue(319 * second) && saving.isDue(320 * second), "but not for ever")
  }
}
