import Foundation
import Testing

extension EndToEnd {
  /// The Gateway API as routes to Services use it. `Programs/gateway/CONFORMANCE.md` says which test holds which case
  /// of the API's own suite.
  @Suite(.serialized, .pythonPackages, .lab("e2egate", programs: "gateway"))
  struct GatewayTests {
    let lab: TestLab
    init() throws { lab = try TestLab.running() }
  }
}

extension EndToEnd.GatewayTests {
  /// The answers, in the order of the calls.
  /// - Parameter pod: the server's name, which its pod's begins with: a pod's own name leads to itself in it.
  func ask(_ calls: [Call], from pod: String = "one", in namespace: String = "harbor") throws -> [Facts] {
    let text = String(decoding: try JSONEncoder().encode(calls), as: UTF8.self)
    let done = try lab.exec(
      "\(pod)-0", in: namespace, ["python3", "\(TestLab.programs)/gateway/ask.py", text], timeout: 60)
    return try Facts(of: done, named: "ask.py from \(pod)").list
  }

  /// As the API's own suite has it: all of it holds at once, soon.
  func expect(
    _ cases: [(Call, Expected)], from pod: String = "one", in namespace: String = "harbor",
    within seconds: Double = 30, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let end = Date().addingTimeInterval(seconds)
    while true {
      let answers = try ask(cases.map(\.0), from: pod, in: namespace)
      try #require(answers.count == cases.count)
      let wrong = zip(cases, answers).compactMap { one, answer in
        one.1.mismatch(answer).map { "\(one.0.method) \(one.0.to):\(one.0.port)\(one.0.path) \(one.0.headers): \($0)" }
      }
      if wrong.isEmpty { return }
      guard Date() < end else {
        for text in wrong { Issue.record("from \(pod): \(text)", sourceLocation: sourceLocation) }
        return
      }
      usleep(50_000)
    }
  }

  /// How many requests of one call each server or, where none, status has answered.
  func tally(_ call: Call, _ count: Int, from pod: String = "one", in namespace: String = "harbor") throws
    -> [String: Int]
  {
    var call = call
    call.count = count
    return try ask([call], from: pod, in: namespace)[0]["tally"].members.compactMapValues(\.int)
  }

  // MARK: configuration

  /// Objects in the folder that the control plane watches, while `body` runs.
  func with(_ yaml: String, _ body: () throws -> Void) throws {
    let file = "case-\(UUID().uuidString.prefix(8)).yaml"
    defer {
      remove(file)
      wait(5, for: "the routes' end") { try objects(of: file).isEmpty }
    }
    try write(file, yaml)
    for object in try objects(of: file) { try #require(object["accepted"].bool == true, "\(object)") }
    try body()
  }

  func write(_ file: String, _ yaml: String) throws {
    let count = yaml.components(separatedBy: "\n---\n").count
    let before = try objects(of: file)
    // Moved into place: nobody reads a half of it.
    let path = "\(lab.folder)/config/\(file)"
    try yaml.write(toFile: path, atomically: true, encoding: .utf8)
    guard before.isEmpty else { return }
    wait(5, for: "the control plane to read \(file)") { try objects(of: file).count == count }
  }

  func remove(_ file: String) { try? FileManager.default.removeItem(atPath: "\(lab.folder)/config/\(file)") }

  /// What status.json says of a file's objects.
  func objects(of file: String) throws -> [Facts] {
    try report()["objects"].list.filter { $0["file"].text == file }
  }

  func report() throws -> Facts {
    try Facts(json: String(contentsOfFile: statusFile, encoding: .utf8), or: "status.json")
  }

  var statusFile: String { "\(lab.folder)/control/state/status.json" }

  /// `True/Accepted` and so on of a route's first parent.
  func condition(_ type: String, of route: String, in namespace: String = "harbor", kind: String = "HTTPRoute") throws
    -> (verdict: String, message: String)
  {
    let object = try report()["objects"].list.first {
      $0["kind"].text == kind && $0["namespace"].text == namespace && $0["name"].text == route
    }
    let conditions = object?["parents"].list.first?["conditions"].list ?? []
    guard let found = conditions.first(where: { $0["type"].text == type }) else { return ("", "") }
    return ("\(found["status"].text ?? "")/\(found["reason"].text ?? "")", found["message"].text ?? "")
  }

  func expectCondition(
    _ type: String, _ verdict: String, of route: String, in namespace: String = "harbor", kind: String = "HTTPRoute",
    saying part: String = "", sourceLocation: SourceLocation = #_sourceLocation
  ) {
    var seen = ""
    let end = Date().addingTimeInterval(30)
    while Date() < end {
      if let (found, message) = try? condition(type, of: route, in: namespace, kind: kind) {
        if found == verdict, part.isEmpty || message.contains(part) { return }
        seen = "\(found) \(message)"
      }
      usleep(50_000)
    }
    Issue.record(
      "\(type) of \(kind) \(namespace)/\(route) is \(seen), not \(verdict) \(part)", sourceLocation: sourceLocation)
  }

  /// The YAML of a route named `case`.
  func route(
    kind: String = "HTTPRoute", of service: String = "echo", port: Int? = 80, _ rules: String
  ) -> String {
    route("case", kind: kind, of: service, port: port, rules)
  }

  /// A route's YAML.
  /// - Parameter more: lines of metadata, as flow members: `, creationTimestamp: …`.
  func route(
    _ name: String, kind: String = "HTTPRoute", in namespace: String = "harbor", of service: String = "echo",
    parentNamespace: String? = nil, port: Int? = 80, metadata more: String = "", hostnames: String = "",
    _ rules: String
  ) -> String {
    let parentPort = port.map { ", port: \($0)" } ?? ""
    let parentIn = parentNamespace.map { ", namespace: \($0)" } ?? ""
    let hosts = hostnames.isEmpty ? "" : "\n  hostnames: [\(hostnames)]"
    let version = ["HTTPRoute", "GRPCRoute"].contains(kind) ? "v1" : "v1alpha2"
    return """
      apiVersion: gateway.networking.k8s.io/\(version)
      kind: \(kind)
      metadata: {name: \(name), namespace: \(namespace)\(more)}
      spec:
        parentRefs: [{group: "", kind: Service, name: \(service)\(parentIn)\(parentPort)}]\(hosts)
        rules:
        \(rules.replacing("\n", with: "\n  "))
      """
  }
}
