import MeshModel

/// A route as its object says it; what its references lead to is the compiler's to find out.
struct RouteObject: Hashable, Sendable {
  /// A reference to what the route is attached to; a Service.
  struct Parent: Hashable, Sendable {
    var namespace: String
    var name: String
    /// The Service's port by its name.
    var sectionName = ""
    var port: UInt16?

    var service: ObjectName { ObjectName(namespace, name) }
  }

  var kind: Route.Kind
  var created: Int64 = 0
  /// Services only: other parents have controllers of their own.
  var parents: [Parent] = []
  var hostnames: [String] = []
  /// Backends and mirrors that can't be Services have `invalid` set already.
  var rules: [RouteRule] = []
  /// Why the whole route can't be accepted.
  var rejection: Finding?
}

/// A reason of the Gateway API's conditions, and what a person needs to know.
struct Finding: Hashable, Sendable, CustomStringConvertible {
  var reason: String
  var message: String

  init(_ reason: String, _ message: String) {
    self.reason = reason
    self.message = message
  }

  /// Of a `RouteBackend`'s `invalid`.
  init(_ description: String) {
    let parts = description.split(separator: ":", maxSplits: 1)
    reason = parts.first.map(String.init) ?? ""
    message = parts.count > 1 ? String(parts[1].drop { $0 == " " }) : ""
  }

  var description: String { "\(reason): \(message)" }
}

struct ReferenceGrantObject: Hashable, Sendable {
  struct Source: Hashable, Sendable {
    var group: String
    var kind: String
    var namespace: String
  }

  struct Destination: Hashable, Sendable {
    var group: String
    var kind: String
    /// Empty: all of the kind.
    var name = ""
  }

  var from: [Source] = []
  var to: [Destination] = []

  func permits(_ kind: Route.Kind, from namespace: String, toService name: String) -> Bool {
    let source = Source(group: GatewayAPI.group, kind: kind.objectKind, namespace: namespace)
    return from.contains(source)
      && to.contains { $0.group.isEmpty && $0.kind == "Service" && ($0.name.isEmpty || $0.name == name) }
  }
}

/// A policy whose targets may still name a Service's port by name.
struct TrafficPolicyObject: Hashable, Sendable {
  struct Target: Hashable, Sendable {
    var kind: TrafficPolicy.Target.Kind
    var port: UInt16?
    var sectionName = ""
  }

  /// Without targets.
  var policy: TrafficPolicy
  var targets: [Target]
}

struct NodeObject: Hashable, Sendable {
  var zone = ""
  var region = ""
}

enum GatewayAPI {
  static let group = "gateway.networking.k8s.io"
}
