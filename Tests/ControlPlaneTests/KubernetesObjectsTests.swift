import Foundation
import KubernetesAPI
import Testing

@testable import ControlPlane

@Suite struct KubernetesObjectsTests {
  private func object(_ text: String) throws -> KubernetesObject {
    try KubernetesObject(try JSONReader.read(Array(text.utf8)))
  }

  private func service(_ name: String, port: String = "80", extra: String = "") throws -> KubernetesObject {
    try object(
      """
      {"apiVersion":"v1","kind":"Service","metadata":{"name":"\(name)","namespace":"shop","resourceVersion":"1"},
       "spec":{"clusterIP":"10.96.0.1","ports":[{"port":\(port),"protocol":"TCP"}]\(extra)},"status":{"loadBalancer":{}}}
      """)
  }

  /// All kinds but one told, as empty.
  private func complete(but kind: Kind? = nil) -> KubernetesObjects {
    var objects = KubernetesObjects()
    for other in Kind.allCases where other != kind { _ = objects.take(.all([]), of: other) }
    return objects
  }

  @Test func nothingIsInForceBeforeEveryKindHasBeenTold() throws {
    var objects = complete(but: .pod)
    #expect(objects.take(.all([try service("a")]), of: .service).changes.isEmpty && !objects.isComplete)
    #expect(objects.take(.changed(try service("b")), of: .service).changes.isEmpty)
    let changes = objects.take(.all([]), of: .pod).changes
    #expect(objects.isComplete && changes.map(\.key.name.name) == ["a", "b"])
  }

  @Test func aListCountsWhenItIsWhole() throws {
    var objects = complete(but: .service)
    func part(_ names: [String], isFirst: Bool, isLast: Bool) throws -> [String] {
      let part = ReflectorState.Part(objects: try names.map { try service($0) }, isFirst: isFirst, isLast: isLast)
      return objects.take(part, of: .service).changes.map(\.key.name.name)
    }
    #expect(try part(["a"], isFirst: true, isLast: false).isEmpty)
    // It broke off, and begins anew.
    #expect(try part(["b"], isFirst: true, isLast: false).isEmpty && !objects.isComplete)
    #expect(try part(["c"], isFirst: false, isLast: true) == ["b", "c"] && objects.isComplete)
  }

  @Test func aListTakesAwayWhatItDoesNotHold() throws {
    var objects = complete()
    _ = objects.take(.all([try service("a"), try service("b")]), of: .service)
    let changes = objects.take(.all([try service("b"), try service("c")]), of: .service).changes
    #expect(changes.map(\.key.name.name) == ["a", "c"] && changes.map { $0.object == nil } == [true, false])
    // The same again, as after a server's restart: nothing.
    #expect(objects.take(.all([try service("b"), try service("c")]), of: .service).changes.isEmpty)
    #expect(objects.take(.deleted(try service("c")), of: .service).changes.map(\.key.name.name) == ["c"])
    #expect(objects.take(.deleted(try service("c")), of: .service).changes.isEmpty)
  }

  @Test func whatIsRefusedLeavesItsLastGoodVersion() throws {
    var objects = complete()
    _ = objects.take(.changed(try service("a")), of: .service)
    let (changes, touched) = objects.take(.changed(try service("a", port: "99999")), of: .service)
    #expect(changes.isEmpty && touched == ["Service/shop/a"])
    let refusals = objects.registry.refusals(of: "Service/shop/a")
    #expect(refusals.count == 1 && refusals[0].contains("spec.ports[0].port"), "\(refusals)")
    #expect(objects.take(.changed(try service("a", port: "81")), of: .service).changes.count == 1)
  }

  /// A server may be newer than this program.
  @Test func unknownFieldsAreNoMistakes() throws {
    var objects = complete()
    let new = try service("a", extra: #","aFieldOfTomorrow":{"x":1}"#)
    #expect(objects.take(.changed(new), of: .service).changes.count == 1)
    #expect(objects.registry.refusals(of: "Service/shop/a").isEmpty)
  }

  /// Items of a list don't say their kind, those of a watch do, and an older version of a kind is read like the newest.
  @Test func slicesOfBothVersions() throws {
    var objects = complete()
    for (version, address) in [
      ("", "10.0.0.1"), (#""apiVersion":"discovery.k8s.io/v1beta1","kind":"EndpointSlice","#, "10.0.0.2"),
    ] {
      let slice = try object(
        """
        {\(version)"metadata":{"name":"a","namespace":"shop","resourceVersion":"1",
         "labels":{"kubernetes.io/service-name":"a"}},"addressType":"IPv4",
         "endpoints":[{"addresses":["\(address)"],"conditions":{"ready":true},"topology":{"kubernetes.io/hostname":"one"}}],
         "ports":[{"name":"","port":80,"protocol":"TCP"}]}
        """)
      #expect(objects.take(.changed(slice), of: .endpointSlice).changes.count == 1)
      #expect(objects.registry.refusals(of: "EndpointSlice/shop/a").isEmpty)
    }
  }

  @Test func kindsAreFoundByTheirVersions() {
    #expect(Kind.pod.resources.map { $0.path() } == ["/api/v1/pods"])
    #expect(
      Kind.endpointSlice.resources.map { $0.path() } == [
        "/apis/discovery.k8s.io/v1/endpointslices", "/apis/discovery.k8s.io/v1beta1/endpointslices",
      ])
    #expect(
      Kind.httpRoute.resources.map { $0.path(namespace: "shop", name: "r") }
        == ["v1", "v1beta1"].map {
          "/apis/gateway.networking.k8s.io/\($0)/namespaces/shop/httproutes/r"
        })
    #expect(Kind.allCases.filter(\.isCustom).count == 7)
  }

  private func named(_ uid: String, port: String) throws -> KubernetesObject {
    let text = String(decoding: try service("a", port: port).content.bytes, as: UTF8.self)
    return try object(text.replacingOccurrences(of: #""name":"a""#, with: #""name":"a","uid":"\#(uid)""#))
  }

  @Test func aReplicaThatStartsLaterHasTheSameLastGoodVersions() throws {
    var first = complete()
    _ = first.take(.changed(try named("u", port: "80")), of: .service)
    #expect(first.keeps.isEmpty)
    #expect(first.take(.changed(try named("u", port: "\"x\"")), of: .service).changes.isEmpty)
    let kept = first.keeps
    #expect(Array(kept.keys) == ["u"])
    // Another that has never seen it good: with what is kept, whether that or the objects come first.
    for keptFirst in [true, false] {
      var second = KubernetesObjects(awaitsKept: true)
      if keptFirst { #expect(second.take(kept: kept).changes.isEmpty) }
      for kind in Kind.allCases where kind != .service { _ = second.take(.all([]), of: kind) }
      var changes = second.take(.all([try named("u", port: "\"x\"")]), of: .service).changes
      #expect(second.isComplete == keptFirst)
      if !keptFirst { changes = second.take(kept: kept).changes }
      #expect(changes.map(\.key.name.name) == ["a"] && changes[0].object != nil && second.isComplete)
      #expect(second.registry.refusal(of: "Service/shop/a") == first.registry.refusal(of: "Service/shop/a"))
      // It keeps the same, until the object is good again or gone.
      #expect(second.keeps == kept)
      _ = second.take(.changed(try named("u", port: "81")), of: .service)
      #expect(second.keeps.isEmpty)
    }
    // One that is told later, and one that is another object of that name.
    var third = complete()
    #expect(third.take(.changed(try named("u", port: "\"x\"")), of: .service).changes.isEmpty)
    #expect(third.take(kept: kept).changes.map(\.key.name.name) == ["a"])
    #expect(third.take(kept: kept).changes.isEmpty)
    var fourth = complete()
    _ = fourth.take(kept: kept)
    #expect(fourth.take(.changed(try named("v", port: "\"x\"")), of: .service).changes.isEmpty)
    #expect(fourth.take(kept: ["v": "nonsense", "u": kept["u"]!]).changes.isEmpty)
    #expect(first.take(.deleted(try named("u", port: "80")), of: .service).changes.map(\.key.name.name) == ["a"])
    #expect(first.keeps.isEmpty)
  }

  @Test func whatIsKeptIsBounded() throws {
    var objects = complete()
    let long = String(repeating: "x", count: LastGood.maximumText)
    for (uid, annotation) in [("u", long), ("v", "short")] {
      func version(_ port: String) throws -> KubernetesObject {
        let text = String(decoding: try service(uid, port: port).content.bytes, as: UTF8.self)
        return try object(
          text.replacingOccurrences(
            of: #""name":"\#(uid)""#, with: #""name":"\#(uid)","uid":"\#(uid)","annotations":{"a":"\#(annotation)"}"#))
      }
      _ = objects.take(.changed(try version("80")), of: .service)
      _ = objects.take(.changed(try version("\"x\"")), of: .service)
    }
    #expect(Array(objects.keeps.keys) == ["v"])
  }
}
