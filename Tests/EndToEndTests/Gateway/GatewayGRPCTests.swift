import Foundation
import Testing

/// GRPCRoutes.
extension EndToEnd.GatewayTests {
  @Test("headers of gRPC calls are set, added and removed")
  func grpcRequestHeaders() throws {
    func rule(_ value: String, _ edit: String, _ server: String) -> String {
      """
      - matches: [{headers: [{name: x-test-case, value: \(value)}]}]
        filters: [{type: RequestHeaderModifier, requestHeaderModifier: {\(edit)}}]
        backendRefs: [{name: \(server), port: 7070}]
      """
    }
    let rules = [
      rule("set", "set: [{name: x-header-set, value: set-overwrites-values}]", "one"),
      rule("add", "add: [{name: x-header-add, value: add-appends-values}]", "one"),
      rule("remove", "remove: [x-header-remove]", "one"),
      rule(
        "multi",
        "set: [{name: x-header-set-1, value: header-set-1}, {name: x-header-set-2, value: header-set-2}], "
          + "add: [{name: x-header-add-1, value: header-add-1}, {name: x-header-add-2, value: header-add-2}], "
          + "remove: [x-header-remove-1, x-header-remove-2]", "two"),
    ].joined(separator: "\n")
    try with(route(kind: "GRPCRoute", port: 7070, rules)) {
      for pod in ["one", "two"] {
        try expect(
          [
            (
              .grpc(
                "/shop.Till/Sell", ["x-test-case": "set", "some-other-header": "kept", "x-header-set": "overwritten"]),
              .reply(
                from: "one",
                ["x-test-case": "set", "some-other-header": "kept", "x-header-set": "set-overwrites-values"])
            ),
            (
              .grpc("/shop.Till/Sell", ["x-test-case": "add", "x-header-add": "first"]),
              .reply(from: "one", ["x-header-add": "first,add-appends-values"])
            ),
            (
              .grpc("/shop.Till/Sell", ["x-test-case": "remove", "x-header-remove": "gone"]),
              .reply(from: "one", ["x-test-case": "remove", "x-header-remove": nil])
            ),
            (
              .grpc(
                "/shop.Till/Sell",
                [
                  "x-test-case": "multi", "x-header-set-2": "a", "x-header-add-2": "b", "x-header-remove-2": "c",
                ]),
              .reply(
                from: "two",
                [
                  "x-header-set-1": "header-set-1", "x-header-set-2": "header-set-2",
                  "x-header-add-1": "header-add-1", "x-header-add-2": "b,header-add-2", "x-header-remove-1": nil,
                  "x-header-remove-2": nil,
                ])
            ),
          ], from: pod)
      }
    }
  }

  @Test("services and methods choose, exactly and by regular expression; what no rule takes is UNIMPLEMENTED")
  func grpcMethods() throws {
    let rules = """
      - matches: [{method: {service: shop.Till, method: Sell}}]
        backendRefs: [{name: one, port: 7070}]
      - matches: [{method: {service: shop.Stock}}]
        backendRefs: [{name: two, port: 7070}]
      - matches: [{method: {method: Check}}]
        backendRefs: [{name: two, port: 7070}]
      - matches: [{method: {type: RegularExpression, service: "bank[.].+", method: "Get[A-Z]+"}}]
        backendRefs: [{name: one, port: 7070}]
      - matches: [{method: {service: shop.Till, method: Lost}}]
        backendRefs: [{name: nowhere, port: 7070}]
      """
    try with(route(kind: "GRPCRoute", port: 7070, rules)) {
      try expect([
        (.grpc("/shop.Till/Sell"), .reply(from: "one")), (.grpc("/shop.Stock/Count"), .reply(from: "two")),
        (.grpc("/any.Service/Check"), .reply(from: "two")), (.grpc("/bank.Account/GetALL"), .reply(from: "one")),
        (.grpc("/bank.Account/Getall"), .status(12)), (.grpc("/shop.Tills/Sell"), .status(12)),
        (.grpc("/shop.Till/Refund"), .status(12)), (.grpc("/shop.Till/Lost"), .status(14)),
      ])
      expectCondition("ResolvedRefs", "False/BackendNotFound", of: "case", kind: "GRPCRoute", saying: "harbor/nowhere")
    }
  }

  @Test("a mirror gets a copy of gRPC calls, with the rule's changes")
  func grpcMirror() throws {
    let mirror = "{type: RequestMirror, requestMirror: {backendRef: {name: two, port: 7070}}}"
    let rules = """
      - matches: [{headers: [{name: x-mirror-only, value: "true"}]}]
        filters: [\(mirror)]
        backendRefs: [{name: one, port: 7070}]
      - matches: [{headers: [{name: x-mirror-and-modify, value: "true"}]}]
        filters:
        - type: RequestHeaderModifier
          requestHeaderModifier:
            set: [{name: X-Header-Set, value: set-overwrites-values}]
            add: [{name: X-Header-Add, value: header-val-1}, {name: X-Header-Add-Append, value: header-val-2}]
            remove: [X-Header-Remove]
        - \(mirror)
        backendRefs: [{name: one, port: 7070}]
      """
    let edited = [
      ["x-header-set", "set-overwrites-values"], ["x-header-add", "header-val-1"],
      ["x-header-add-append", "header-val-2"],
    ]
    try with(route(kind: "GRPCRoute", port: 7070, rules)) {
      for header in ["x-mirror-only", "x-mirror-and-modify"] {
        let key = "grpc-\(UUID().uuidString.prefix(8))"
        let sent = [header: "true", "x-key": key, "x-header-remove": "a", "x-header-add-append": "append-val-1"]
        let changed = header == "x-mirror-and-modify"
        try expect([
          (
            Call(protocol: "grpc", port: 7070, path: "/shop.Till/Sell", headers: sent, bytes: 5000),
            .reply(
              from: "one",
              [
                "x-header-set": changed ? "set-overwrites-values" : nil, "x-header-remove": changed ? nil : "a",
                "x-header-add-append": changed ? "append-val-1,header-val-2" : "append-val-1",
              ])
          )
        ])
        wait(3, for: "the copy with \(header)") { try seen(key, at: "two").count >= 1 }
        let copy = try seen(key, at: "two").first ?? .null
        #expect(copy["path"].text == "/shop.Till/Sell" && copy["bytes"].int == 5000, "\(copy)")
        let headers = copy["headers"].list.map(\.texts)
        for pair in edited { #expect(headers.contains(pair) == changed, "\(pair): \(copy)") }
        #expect(headers.contains(["x-header-remove", "a"]) != changed, "\(copy)")
      }
    }
  }
}
