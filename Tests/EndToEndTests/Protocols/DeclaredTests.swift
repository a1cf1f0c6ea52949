import Foundation
import Testing

/// What is said of ports: by `appProtocol`, by their names, by the annotation `weft.dev/protocol`. And TLS of clients in
/// another namespace.
extension EndToEnd.ProtocolTests {
  /// What a request meets: `parsed` as HTTP/1.1, `bytes` as they are, `http2` where that is what the server got.
  private enum Way { case parsed, bytes, http2 }

  /// Its ports lead to the server by hand, of HTTP/2 to nghttpd, which knows nothing else.
  private func service(
    _ name: String, protocol annotation: String = "", _ ports: [(name: String, said: String, way: Way)]
  )
    -> String
  {
    let lines = ports.enumerated().map { index, port in
      "  - {name: \(port.name), port: \(8000 + index), targetPort: \(port.way == .http2 ? 9106 : 9101)"
        + (port.said.isEmpty ? "}" : ", appProtocol: \(port.said)}")
    }
    return """
      apiVersion: v1
      kind: Service
      metadata: {name: \(name), namespace: shop, annotations: {\(annotation.isEmpty ? "" : "weft.dev/protocol: \"\(annotation)\"")}}
      spec:
        selector: {app: far}
        ports:
      \(lines.joined(separator: "\n"))
      """
  }

  /// Sends HTTP/1.1 there.
  private func expect(_ way: Way, at url: String, from pod: String = "client", in namespace: String = "shop") throws {
    let done = try lab.exec(
      pod, in: namespace, ["curl", "-sS", "--http1.1", "--max-time", "5", "-w", " %{response_code}", url + "/echo"])
    if way == .http2 {
      // nghttpd hasn't got it, and says so in HTTP/2; HTTP/1.1 it doesn't answer.
      return #expect(done.output.hasSuffix(" 404") && done.output.contains("nghttpd"), "\(url): \(done)")
    }
    #expect(done.output.hasSuffix(" 200"), "\(url): \(done)")
    let names = try Facts(json: String(done.output.dropLast(4)), or: url)["fields"].list.compactMap {
      $0.list.first?.text
    }
    #expect(names.contains("x-request-id") == (way == .parsed), "\(url): \(names)")
  }

  @Test("appProtocol goes before the port's name, that before the annotation; what says nothing is found out")
  func declared() throws {
    let services: [(name: String, annotation: String, ports: [(name: String, said: String, way: Way)])] = [
      (
        "said-by-ports", "",
        [
          ("http", "", .parsed), ("http-a", "", .parsed), ("tcp-a", "", .bytes), ("redis", "", .bytes),
          ("http2-a", "", .http2), ("grpc-a", "", .http2), ("grpc-web", "", .http2), ("any", "", .parsed),
          ("httpd", "", .parsed), ("b", "http", .parsed), ("c", "kubernetes.io/ws", .parsed), ("d", "HTTP", .parsed),
          ("e", "kubernetes.io/h2c", .http2), ("f", "grpc", .http2), ("g", "tcp", .bytes), ("h", "mysql", .bytes),
          ("http-b", "tcp", .bytes), ("tcp-b", "http", .parsed), ("tcp-c", "example.com/own", .bytes),
          ("i", "example.com/own", .parsed),
        ]
      ),
      (
        "said-once", "tcp",
        [
          ("a", "", .bytes), ("http-a", "", .parsed), ("b", "http", .parsed), ("c", "example.com/own", .bytes),
          ("d", "kubernetes.io/h2c", .http2),
        ]
      ),
      (
        "said-by-port", "8000=tcp, 8001=http,8002=http2,8003=grpc,8004=http",
        [
          ("a", "", .bytes), ("b", "", .parsed), ("c", "", .http2), ("d", "", .http2), ("e", "tcp", .bytes),
          ("f", "", .parsed),
        ]
      ),
      ("said-but-for-one", "http2,8001=tcp", [("a", "", .http2), ("b", "", .bytes), ("c", "", .http2)]),
    ]
    let yaml = services.map { service($0.name, protocol: $0.annotation, $0.ports) }.joined(separator: "\n---\n")
    let done = try lab.apply(yaml)
    try #require(done.status == 0, "\(done.output)\(done.errors)")
    defer { for each in services { _ = try? lab.act("delete", "Service/\(each.name)", "-n", "shop") } }
    wait(5, for: "the Services") {
      let seen = try lab.ask("a", "services")["services"].list.compactMap { $0["name"].text }
      return services.allSatisfy { seen.contains($0.name) }
    }
    for each in services {
      for (index, port) in each.ports.enumerated() { try expect(port.way, at: "http://\(each.name):\(8000 + index)") }
    }
  }

  @Test("a namespace's annotation holds for its Services' ports that say nothing themselves")
  func declaredByNamespace() throws {
    for (pod, namespace) in [("client", "shop"), ("guest", "inn")] {
      try expect(.bytes, at: "http://guest.inn", from: pod, in: namespace)
      try expect(.parsed, at: "http://guest.inn:81", from: pod, in: namespace)
      try expect(.parsed, at: "http://far.shop:81", from: pod, in: namespace)
    }
  }

  // MARK: consumers of TLS

  /// Whose certificate a server name led to, by openssl and by Python.
  private func expectTLS(
    _ expected: [String: String], from pod: String, in namespace: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    var seen: [String: String] = [:]
    let end = Date().addingTimeInterval(30)
    repeat {
      let names = expected.keys.sorted()
      let done = try lab.exec(
        pod, in: namespace, ["python3", "\(TestLab.programs)/protocols/tls.py", "split.shop", "443"] + names,
        timeout: 60)
      seen = try Facts(of: done, named: "tls.py").members.compactMapValues(\.text)
    } while seen != expected && Date() < end
    #expect(seen == expected, "from \(pod)", sourceLocation: sourceLocation)
    for (name, server) in expected where name != "-" {
      let program = """
        import socket, ssl
        context = ssl._create_unverified_context()
        try:
            with context.wrap_socket(socket.create_connection(("split.shop", 443), 5), server_hostname="\(name)") as s:
                der = s.getpeercert(True)
                s.sendall(b"drawer\\n")
                print([n for n in ("near", "far", "guest") if n.encode() + b".example" in der][0], s.recv(100).decode())
        except OSError:
            print("none")
        """
      let done = try lab.exec(pod, in: namespace, ["python3", "-c", program])
      let wanted = server == "none" ? "none\n" : "\(server.split(separator: ".")[0]) reward\n\n"
      #expect(done.output == wanted, "\(name) from \(pod): \(done)", sourceLocation: sourceLocation)
    }
  }

  @Test("a TLSRoute of a client's namespace holds for that namespace's clients only, by the server's name")
  func tlsConsumer() throws {
    let producers = ["near.example": "near.example", "far.example": "far.example", "other.example": "none"]
    try expectTLS(producers, from: "guest", in: "inn")
    let route = """
      apiVersion: gateway.networking.k8s.io/v1alpha2
      kind: TLSRoute
      metadata: {name: own, namespace: inn}
      spec:
        parentRefs: [{group: "", kind: Service, namespace: shop, name: split, port: 443}]
        hostnames: ["near.example", "*.inn.example"]
        rules: [{backendRefs: [{name: guest, port: 443}]}]
      """
    let done = try lab.apply(route)
    try #require(done.status == 0, "\(done.output)\(done.errors)")
    defer { _ = try? lab.lab("delete", ["TLSRoute/own", "-n", "inn"]) }
    try expectTLS(
      ["near.example": "guest.example", "a.inn.example": "guest.example", "far.example": "none", "-": "none"],
      from: "guest", in: "inn")
    try expectTLS(producers.merging(["a.inn.example": "none"]) { $1 }, from: "client", in: "shop")
    try lab.act("delete", "TLSRoute/own", "-n", "inn")
    try expectTLS(producers, from: "guest", in: "inn")
  }
}
