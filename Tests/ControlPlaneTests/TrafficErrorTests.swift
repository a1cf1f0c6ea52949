import MeshModel
import Testing

@testable import ControlPlane

private func http(_ rule: String) -> String { routeYAML("  rules:\n  - \(rule)") }
private func grpc(_ rule: String) -> String { routeYAML("GRPCRoute", "  rules:\n  - \(rule)") }
private func filter(_ filter: String) -> String { http("filters: [\(filter)]") }
private let many = Array(repeating: "{}", count: 129).joined(separator: ", ")

private let routes: [Mistake] = [
  Mistake(
    "version", http("{}").replacing("k8s.io/v1", with: "k8s.io/v2"),
    "apiVersion: \"gateway.networking.k8s.io/v2\" is not gateway.networking.k8s.io/v1 or gateway.networking.k8s.io/v1beta1"
  ),
  Mistake(
    "time", http("{}").replacing("2026-01-31", with: "2026-02-30"),
    "metadata.creationTimestamp: \"2026-02-30T12:00:00Z\" is not a time"),
  Mistake(
    "no spec", "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}",
    "HTTPRoute default/r: has no spec"),
  Mistake(
    "unknown field", http("backendrefs: []"),
    "a.yaml:7:5: HTTPRoute shop/r: spec.rules[0].backendrefs: is not a known field; did you mean backendRefs?"),
  Mistake(
    "parent twice",
    http("{}").replacing("name: cart}]", with: "name: cart}, {group: core, kind: Service, name: cart}]"),
    "a.yaml:5:56: HTTPRoute shop/r: spec.parentRefs[1]: the same parent stands twice"),
  Mistake(
    "parent's port", http("{}").replacing("name: cart}]", with: "name: cart, port: 0}]"),
    "spec.parentRefs[0].port: 0 is not a port"),
  Mistake(
    "host name", routeYAML("  hostnames: [Cart]"), "spec.hostnames[0]: \"Cart\" is not a host name in lower case"),
  Mistake("host address", routeYAML("  hostnames: [10.0.0.1]"), "spec.hostnames[0]: \"10.0.0.1\" is not a host name"),
  Mistake("wildcard", routeYAML("  hostnames: [\"a.*.b\"]"), "spec.hostnames[0]: \"a.*.b\" is not a host name"),
  Mistake("too many rules", routeYAML("  rules: [\(many)]"), "spec.rules: 129 elements; at most 128 are allowed"),
  Mistake(
    "too many matches", http("matches: [\(many)]"), "spec.rules[0].matches: 129 elements; at most 64 are allowed"),
  Mistake("too many filters", http("filters: [\(many)]"), "spec.rules[0].filters: 129 elements; at most 16"),
  Mistake("too many backends", http("backendRefs: [\(many)]"), "spec.rules[0].backendRefs: 129 elements; at most 16"),
  Mistake("rule names", routeYAML("  rules: [{name: a}, {name: a}]"), "spec.rules[1]: the name \"a\" stands twice"),
  Mistake(
    "path", http("matches: [{path: {value: a}}]"),
    "spec.rules[0].matches[0].path.value: \"a\" is not a path: it must begin with /"),
  Mistake(
    "double slash", http("matches: [{path: {value: /a//b}}]"), "\"/a//b\" contains //, which no path of a"),
  Mistake("dots", http("matches: [{path: {value: /a/..}}]"), "\"/a/..\" is not a path without . and .. at its end"),
  Mistake(
    "path type", http("matches: [{path: {type: Prefix, value: /}}]"),
    "path.type: \"Prefix\" is not one of Exact, PathPrefix, RegularExpression"),
  Mistake(
    "path pattern", http("matches: [{path: {type: RegularExpression, value: \"/(a\"}}]"),
    "a.yaml:7:55: HTTPRoute shop/r: spec.rules[0].matches[0].path.value: the regular expression \"/(a\" is refused"),
  Mistake(
    "backreference", http("matches: [{headers: [{name: a, type: RegularExpression, value: '(a)\\1'}]}]"),
    "spec.rules[0].matches[0].headers[0].value: the regular expression"),
  Mistake("method", http("matches: [{method: get}]"), "matches[0].method: \"get\" is not one of GET, HEAD"),
  Mistake(
    "header name", http("matches: [{headers: [{name: \"a b\", value: c}]}]"), "headers[0].name: \"a b\" is not a name"),
  Mistake("header value", http("matches: [{headers: [{name: a, value: \"a\\nb\"}]}]"), "headers[0].value:"),
  Mistake(
    "number as value", http("matches: [{queryParams: [{name: a, value: 1}]}]"),
    "queryParams[0].value: 1 is a number, not text"),
  Mistake("backend's port", http("backendRefs: [{name: a}]"), "spec.rules[0].backendRefs[0]: has no port"),
  Mistake(
    "weight", http("backendRefs: [{name: a, port: 1, weight: 1000001}]"),
    "weight: 1000001 is not a whole number from 0 to 1000000"),
  Mistake(
    "weight below zero", http("backendRefs: [{name: a, port: 1, weight: -1}]"), "weight: -1 is not a whole number"),
  Mistake("filter type", filter("{type: Nothing}"), "filters[0].type: \"Nothing\" is not one of CORS, ExtensionRef"),
  Mistake("filter's body", filter("{type: URLRewrite}"), "filters[0]: has no urlRewrite"),
  Mistake(
    "other body", filter("{type: URLRewrite, urlRewrite: {}, cors: {}}"),
    "filters[0].cors: does not belong to a filter of the type URLRewrite"),
  Mistake(
    "filter twice", filter("{type: URLRewrite, urlRewrite: {}}, {type: URLRewrite, urlRewrite: {}}"),
    "filters[1].type: URLRewrite stands twice"),
  Mistake(
    "status", filter("{type: RequestRedirect, requestRedirect: {statusCode: 304}}"), "statusCode: 304 is not one of 301"
  ),
  Mistake(
    "prefix of nothing",
    http(
      "matches: [{path: {type: Exact, value: /}}]\n    filters: [{type: URLRewrite, "
        + "urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]"
    ), "path: ReplacePrefixMatch needs a rule with exactly one match, by PathPrefix"),
  Mistake(
    "redirect with a backend",
    http("backendRefs: [{name: a, port: 1}]\n    filters: [{type: RequestRedirect, requestRedirect: {}}]"),
    "spec.rules[0].backendRefs[0]: a rule that redirects has no backends"),
  Mistake(
    "mirror's share", filter("{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, percent: 101}}"),
    "percent: 101 is not a whole number from 0 to 100"),
  Mistake(
    "mirror's fraction",
    filter("{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, fraction: {numerator: 101}}}"),
    "numerator: 101 is not a whole number from 0 to 100"),
  Mistake(
    "mirror's both",
    filter(
      "{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, percent: 1, fraction: {numerator: 1}}}"),
    "percent: stands beside a fraction"),
  Mistake(
    "origin", filter("{type: CORS, cors: {allowOrigins: [example.com]}}"),
    "allowOrigins[0]: \"example.com\" is not * or an origin"),
  Mistake(
    "duration", http("timeouts: {request: 1.5s}"),
    "spec.rules[0].timeouts.request: \"1.5s\" is not a duration of the Gateway API"),
  Mistake("no unit", http("timeouts: {request: 10}"), "timeouts.request: 10 is not a duration"),
  Mistake(
    "too long", http("timeouts: {request: 1193h1ms}"),
    "timeouts.request: 1193h1ms is out of range: 1ms to 1193h, or 0s to turn it off"),
  Mistake(
    "longest of GEP-2257", http("timeouts: {request: 99999h99999m99999s99999ms}"),
    "timeouts.request: 99999h99999m99999s99999ms is out of range: 1ms to 1193h"),
  Mistake(
    "try longer than all", http("timeouts: {request: 1s, backendRequest: 2s}"),
    "timeouts.backendRequest: is longer than the request's timeout"),
  Mistake(
    "attempts", http("retry: {attempts: 21}"), "spec.rules[0].retry.attempts: 21 is not a whole number from 0 to 20"),
  Mistake("retried status", http("retry: {codes: [200]}"), "retry.codes[0]: 200 is not a whole number from 400 to 599"),
  Mistake(
    "permanent cookie", http("sessionPersistence: {cookieConfig: {lifetimeType: Permanent}}"),
    "a Permanent cookie needs an absoluteTimeout"),
  Mistake(
    "session's name", http("sessionPersistence: {sessionName: \(String(repeating: "a", count: 129))}"),
    "the sessionName is longer than 128 characters"),
  Mistake(
    "idle timeout", http("sessionPersistence: {idleTimeout: 0s}"),
    "sessionPersistence.idleTimeout: 0s is out of range: more than 0s, up to 8784h"),
  Mistake(
    "empty gRPC method", grpc("matches: [{method: {type: Exact}}]"), "matches[0].method: has no service and no method"),
  Mistake("gRPC service", grpc("matches: [{method: {service: a/b}}]"), "method.service: \"a/b\" is not a gRPC service"),
  Mistake(
    "gRPC method", grpc("matches: [{method: {method: a.b}}]"), "method.method: \"a.b\" is not the name of a gRPC method"
  ),
  Mistake("gRPC path", grpc("matches: [{path: {value: /}}]"), "matches[0].path: is not a known field"),
  Mistake("TCP without rules", routeYAML("TCPRoute", ""), "TCPRoute shop/r: spec: has no rules"),
  Mistake("TCP host", routeYAML("TCPRoute", "  hostnames: [a]"), "spec.hostnames: is not a known field"),
  Mistake(
    "TCP with two rules",
    routeYAML("TCPRoute", "  rules: [{backendRefs: [{name: a, port: 1}]}, {backendRefs: [{name: b, port: 1}]}]"),
    "spec.rules[1]: a TCPRoute has one rule"),
  Mistake("TLS without a backend", routeYAML("TLSRoute", "  rules: [{name: a}]"), "spec.rules[0]: has no backendRefs"),
  Mistake(
    "grant",
    "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {name: g}\nspec: {from: [], to: []}",
    "spec.from: is empty"),
  Mistake(
    "grant without to",
    "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {name: g}\n"
      + "spec: {from: [{kind: HTTPRoute, namespace: A}], to: []}",
    "spec.from[0].namespace: \"A\" is not a name"),
]

private let policies: [Mistake] = [
  Mistake("no target", policyYAML("  retry: {}", targets: "[]"), "spec.targetRefs: has no target"),
  Mistake(
    "target's kind", policyYAML("", targets: "[{kind: Pod, name: a}]"),
    "spec.targetRefs[0].kind: \"Pod\" is not one of Service, HTTPRoute, GRPCRoute"),
  Mistake(
    "target's group", policyYAML("", targets: "[{group: apps, kind: Service, name: a}]"),
    "targetRefs[0].group: \"apps\" is not the group of Service, which is empty"),
  Mistake(
    "route's port", policyYAML("", targets: "[{kind: HTTPRoute, name: a, port: 80}]"),
    "targetRefs[0].port: is for Services"),
  Mistake(
    "port and section", policyYAML("", targets: "[{kind: Service, name: a, port: 80, sectionName: b}]"),
    "targetRefs[0].sectionName: stands beside a port"),
  Mistake(
    "target twice", policyYAML("", targets: "[{kind: Service, name: a}, {kind: Service, name: a}]"),
    "targetRefs[1]: the same target stands twice"),
  Mistake("client", policyYAML("  clients: [{}]"), "spec.clients[0]: has no namespace and no serviceAccount"),
  Mistake("unknown field", policyYAML("  timeout: {}"), "spec.timeout: is not a known field; did you mean timeouts?"),
  Mistake(
    "duration", policyYAML("  timeouts:\n    request: 1194h"),
    "a.yaml:7:14: TrafficPolicy shop/p: spec.timeouts.request: 1194h is out of range: 1ms to 1193h"),
  Mistake(
    "microseconds", policyYAML("  timeouts: {connect: 10us}"),
    "spec.timeouts.connect: \"10us\" is not a duration such as"),
  Mistake("below a millisecond", policyYAML("  timeouts: {connect: 0.1ms}"), "0.1ms is out of range"),
  Mistake("zero interval", policyYAML("  retryBudget: {interval: 0s}"), "interval: 0s is out of range: 1ms to 1193h"),
  Mistake("percent", policyYAML("  retryBudget: {percent: 100.5}"), "percent: 100.5 is not a percentage from 0 to 100"),
  Mistake("half a percent", policyYAML("  retryBudget: {percent: 0.5%}"), "percent: 0.5% is finer than 1.0 per cent"),
  Mistake(
    "attempts", policyYAML("  retry: {attempts: 21}"), "spec.retry.attempts: 21 is not a whole number from 0 to 20"),
  Mistake(
    "backoff", policyYAML("  retry: {backoff: 1s, maximumBackoff: 500ms}"),
    "maximumBackoff: is shorter than the backoff"),
  Mistake("buffer", policyYAML("  retry: {bufferLimit: 2000000}"), "bufferLimit: 2000000 is not a whole number"),
  Mistake(
    "OK is no failure", policyYAML("  retry: {grpcStatuses: [0]}"), "grpcStatuses[0]: 0 is not a whole number from 1"),
  Mistake("algorithm", policyYAML("  loadBalancer: {algorithm: best}"), "algorithm: \"best\" is not one of roundRobin"),
  Mistake("no hash", policyYAML("  loadBalancer: {algorithm: maglev}"), "spec.loadBalancer: has no hash"),
  Mistake(
    "needless hash", policyYAML("  loadBalancer: {algorithm: random, hash: {header: a}}"),
    "hash: belongs to the algorithms ringHash and maglev"),
  Mistake(
    "two hashes", policyYAML("  loadBalancer: {algorithm: maglev, hash: {header: a, sourceAddress: true}}"),
    "hash: a map is not exactly one of"),
  Mistake("breaker", policyYAML("  circuitBreaker: {maxRequests: 0}"), "maxRequests: 0 is not a whole number from 1"),
  Mistake(
    "ejection", policyYAML("  outlierDetection: {maximumEjectionTime: 1s}"),
    "maximumEjectionTime: is shorter than the base"),
  Mistake("rate", policyYAML("  rateLimits: [{burst: 1}]"), "spec.rateLimits[0]: has no requests"),
  Mistake(
    "rate's key", policyYAML("  rateLimits: [{requests: 1, keys: [path]}]"),
    "keys[0]: \"path\" is not one of clientIdentity, route"),
  Mistake(
    "concurrency", policyYAML("  adaptiveConcurrency: {minimum: 5, maximum: 4}"),
    "minimum: 5 is not a whole number from 1 to 4"),
  Mistake(
    "no fault", policyYAML("  faults: [{percent: 5}]"), "spec.faults[0]: has 0 of delay, abort and abortGRPC, not one"),
  Mistake("two faults", policyYAML("  faults: [{delay: 1s, abort: 503}]"), "spec.faults[0]: has 2 of delay"),
  Mistake(
    "fault's share", policyYAML("  faults: [{abort: 503, percent: 0.001}]"),
    "percent: 0.001 is finer than 0.01 per cent"),
  Mistake(
    "fault's pattern", policyYAML("  faults: [{abort: 503, header: {name: a, type: RegularExpression, value: '['}}]"),
    "header.value: the regular expression \"[\" is refused"),
  Mistake(
    "session's idle timeout", policyYAML("  sessionPersistence: {name: a, idleTimeout: 8785h}"),
    "idleTimeout: 8785h is out of range"),
  Mistake(
    "overprovisioning", policyYAML("  locality: {overprovisioning: 99}"), "overprovisioning: 99 is not a whole number"),
]

private func annotated(_ text: String) -> String {
  """
  apiVersion: v1
  kind: Service
  metadata: {name: cart, annotations: {weft.dev/protocol: \(text)}}
  spec: {ports: [{name: a, port: 80}, {name: b, port: 53, protocol: UDP}]}
  """
}

private let others: [Mistake] = [
  Mistake(
    "weight of a pod",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {weft.dev/weight: \"1000001\"}}\nspec: {}",
    "metadata.annotations[\"weft.dev/weight\"]: \"1000001\" is not a whole number from 0 to 1000000"),
  Mistake(
    "protocol", annotated("smtp"),
    "a.yaml:3:57: Service default/cart: metadata.annotations[\"weft.dev/protocol\"]: \"smtp\" is not one of tcp, http"
  ),
  Mistake("protocol of no port", annotated("81=http"), "81 is not a TCP port of this Service"),
  Mistake("protocol of UDP", annotated("53=http"), "53 is not a TCP port of this Service"),
  Mistake("protocol twice", annotated("'80=http,80=tcp'"), "the port 80 stands twice"),
  Mistake("two general protocols", annotated("'http,tcp'"), "\"http,tcp\" is not a protocol, or a list such as"),
  Mistake(
    "namespace's protocol", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, annotations: {weft.dev/protocol: x}}",
    "Namespace a: metadata.annotations[\"weft.dev/protocol\"]: \"x\" is not one of"),
  Mistake(
    "zone", "apiVersion: v1\nkind: Node\nmetadata: {name: a, labels: {topology.kubernetes.io/zone: 1}}",
    "labels[\"topology.kubernetes.io/zone\"]: 1 is a number"),
]

@Suite struct TrafficErrorTests {
  @Test(arguments: routes + policies + others)
  func names(_ mistake: Mistake) {
    let problems = FileDecoder.decode(Array(mistake.yaml.utf8), file: "a.yaml").problems.map(\.description)
    #expect(problems.count == 1)
    #expect(problems.first?.contains(mistake.sentence) == true, "\(problems.first ?? "no problem at all")")
  }
}
