import Testing

@testable import ControlPlane

/// A mistake in a file, and the sentence that it must give.
struct Mistake: CustomTestStringConvertible {
  var name: String
  var yaml: String
  var sentence: String
  var testDescription: String { name }

  init(_ name: String, _ yaml: String, _ sentence: String) {
    self.name = name
    self.yaml = yaml
    self.sentence = sentence
  }
}

private func pod(_ rest: String) -> String {
  "apiVersion: v1\nkind: Pod\nmetadata:\n  name: cart\n  namespace: shop\n\(rest)\n"
}

private func service(_ rest: String) -> String {
  "apiVersion: v1\nkind: Service\nmetadata: {name: cart, namespace: shop}\nspec:\n\(rest)\n"
}

private func slice(_ rest: String) -> String {
  """
  apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: db-1, labels: {kubernetes.io/service-name: db}}
  \(rest)
  """
}

private func peer(_ metadata: String, _ spec: String) -> String {
  "apiVersion: weft.dev/v1alpha1\nkind: PeerAuthentication\nmetadata: \(metadata)\nspec: \(spec)\n"
}

private let syntax: [Mistake] = [
  Mistake("not YAML", "a: [1, 2", "shop.yaml:2:1: is not valid YAML: did not find expected ',' or ']'"),
  Mistake("tab", "a:\n\t- b", "shop.yaml:2:1: is not valid YAML"),
  Mistake("not UTF-8", "a: \u{1}", "shop.yaml:1:1: is not UTF-8 text: control characters are not allowed"),
  Mistake("scalar", "just text", "shop.yaml:1:1: \"just text\" is not an object"),
  Mistake("list", "- a", "shop.yaml:1:1: a list is not an object"),
  Mistake("duplicate key", "kind: Pod\nkind: Pod", "shop.yaml:2:1: \"kind\" stands twice in one map; first on line 1"),
  Mistake("map as key", "{a: b}: c", "shop.yaml:1:1: a field's name must be text, not a map"),
  Mistake("undefined alias", "a: *b", "shop.yaml:1:4: *b refers to no anchor before it"),
  Mistake(
    "foreign tag", "a: !python/object:os.system x", "shop.yaml:1:4: the tag !python/object:os.system is not supp"),
  Mistake(
    "nesting", String(repeating: "[", count: 65) + String(repeating: "]", count: 65),
    "shop.yaml:1:65: more than 64 maps and lists inside one another"),
  Mistake(
    "nesting without an end", String(repeating: "[", count: 2_000_000),
    "shop.yaml:1:1: more than 64 maps and lists inside one another"),
  Mistake(
    "nesting by aliases",
    (1..<40).reduce("a0: &a0 [x]\n") { $0 + "a\($1): &a\($1) [[*a\($1 - 1)]]\n" },
    "shop.yaml:33:13: more than 64 maps and lists inside one another"),
  Mistake(
    "alias bomb",
    (1..<10).reduce("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n") {
      $0 + "a\($1): &a\($1) [" + Array(repeating: "*a\($1 - 1)", count: 10).joined(separator: ", ") + "]\n"
    }, "shop.yaml:4:45: the file's aliases expand to more than 10000 values"),
]

private let objects: [Mistake] = [
  Mistake("no kind", "apiVersion: v1", "shop.yaml:1:1: has no kind"),
  Mistake(
    "unknown kind", "apiVersion: v1\nkind: Pud",
    "shop.yaml:2:7: Pud: kind: \"Pud\" is not a kind that Weft knows: Namespace, Node, ServiceAccount, Pod, Service"),
  Mistake(
    "kind of the future", "apiVersion: weft.dev/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: a}",
    "shop.yaml:2:7: AuthorizationPolicy a: kind: AuthorizationPolicy is not supported yet"),
  Mistake("no apiVersion", "kind: Pod", "shop.yaml:1:1: Pod: has no apiVersion; a Pod has v1"),
  Mistake(
    "other apiVersion", "apiVersion: v2\nkind: Pod",
    "shop.yaml:1:13: Pod: apiVersion: \"v2\" is not v1, where Pod belongs"),
  Mistake(
    "Istio's PeerAuthentication", "apiVersion: security.istio.io/v1\nkind: PeerAuthentication",
    "apiVersion: \"security.istio.io/v1\" is not weft.dev/v1alpha1"),
  Mistake("no metadata", "apiVersion: v1\nkind: Pod", "shop.yaml:1:1: Pod: has no metadata"),
  Mistake("no name", "apiVersion: v1\nkind: Pod\nmetadata: {}", "shop.yaml:3:11: Pod: metadata: has no name"),
  Mistake(
    "name", "apiVersion: v1\nkind: Pod\nmetadata: {name: Cart}",
    "shop.yaml:3:18: Pod default/Cart: metadata.name: \"Cart\" is not a name of 1 to 253"),
  Mistake(
    "name that is a number", "apiVersion: v1\nkind: Pod\nmetadata: {name: 12}",
    "metadata.name: 12 is a number, not text: put it into quotes"),
  Mistake(
    "label that is a truth value", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {a: yes}}",
    "shop.yaml:3:33: Namespace a: metadata.labels.a: yes is a truth value, not text: put it into quotes"),
  Mistake(
    "namespace of a Node", "apiVersion: v1\nkind: Node\nmetadata: {name: a, namespace: b}",
    "Node a: metadata.namespace: a Node belongs to no namespace"),
  Mistake(
    "enrolment label", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {weft.dev/mesh: enable}}",
    "Namespace a: metadata.labels[\"weft.dev/mesh\"]: \"enable\" is not one of enabled, disabled"),
  Mistake(
    "twice in a file",
    "apiVersion: v1\nkind: Node\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: a}",
    "shop.yaml:5:1: Node a: stands twice in this file; first on line 1"),
  Mistake(
    "unknown field in metadata", pod("spec: {}").replacing("namespace:", with: "namspace:"),
    "shop.yaml:5:3: Pod default/cart: metadata.namspace: is not a known field; did you mean namespace?"),
]

private let pods: [Mistake] = [
  Mistake("no spec", pod("status: {}"), "Pod shop/cart: has no spec"),
  Mistake(
    "port that is text", pod("spec:\n  containers:\n  - ports:\n    - containerPort: 80\n    - containerPort: http"),
    "shop.yaml:10:22: Pod shop/cart: spec.containers[0].ports[1].containerPort: \"http\" is not a port (1 to 65535)"),
  Mistake(
    "port 0", pod("spec: {containers: [{ports: [{containerPort: 0}]}]}"), "containerPort: 0 is not a port (1 to 65535)"),
  Mistake("port 65536", pod("spec: {containers: [{ports: [{containerPort: 65536}]}]}"), ": 65536 is not a port"),
  Mistake("port in quotes", pod("spec: {containers: [{ports: [{containerPort: \"80\"}]}]}"), ": \"80\" is not a port"),
  Mistake("no port", pod("spec: {containers: [{ports: [{name: a}]}]}"), "ports[0]: has no containerPort"),
  Mistake(
    "protocol", pod("spec: {containers: [{ports: [{containerPort: 80, protocol: tcp}]}]}"),
    "spec.containers[0].ports[0].protocol: \"tcp\" is not one of TCP, UDP, SCTP"),
  Mistake(
    "unknown field", pod("spec:\n  nodename: n1"),
    "shop.yaml:7:3: Pod shop/cart: spec.nodename: is not a known field; did you mean nodeName?"),
  Mistake(
    "unknown field far from any", pod("spec:\n  frobnicate: 1"),
    "spec.frobnicate: is not a known field; known here: activeDeadlineSeconds, affinity"),
  Mistake("containers that are a map", pod("spec: {containers: {a: b}}"), "spec.containers: a map is not a list"),
  Mistake("a container that is text", pod("spec: {containers: [a]}"), "containers[0]: \"a\" is not a map of fields"),
  Mistake("hostNetwork", pod("spec: {hostNetwork: \"true\"}"), "spec.hostNetwork: \"true\" is not true or false"),
  Mistake("node", pod("spec: {nodeName: [n1]}"), "spec.nodeName: a list is not text"),
  Mistake("address", pod("spec: {}\nstatus: {podIP: 10.0.0.256}"), "status.podIP: \"10.0.0.256\" is not an IP address"),
  Mistake(
    "address of the list", pod("spec: {}\nstatus: {podIPs: [{ip: 10.0.0.1}, {ip: x}]}"),
    "status.podIPs[1].ip: \"x\" is not an IP address"),
  Mistake(
    "probe of a name that is no port", pod("spec: {containers: [{livenessProbe: {httpGet: {port: web}}}]}"),
    "livenessProbe.httpGet.port: \"web\" is not the name of a TCP port of this container"),
  Mistake(
    "fail mode", pod("spec: {}").replacing("metadata:\n", with: "metadata:\n  labels: {weft.dev/fail-mode: ajar}\n"),
    "metadata.labels[\"weft.dev/fail-mode\"]: \"ajar\" is not one of closed, open"),
]

private let services: [Mistake] = [
  Mistake("selector", service("  selector: [a]"), "Service shop/cart: spec.selector: a list is not a map of names"),
  Mistake("type", service("  type: Headless"), "spec.type: \"Headless\" is not one of ClusterIP, NodePort"),
  Mistake("cluster IP", service("  clusterIP: none"), "spec.clusterIP: \"none\" is not an IP address or None"),
  Mistake("both", service("  clusterIPs: [None, 10.0.0.1]"), "spec.clusterIPs[0]: names both None and an address"),
  Mistake("no port", service("  ports: [{name: a}]"), "spec.ports[0]: has no port"),
  Mistake("nameless ports", service("  ports: [{port: 1}, {port: 2}]"), "spec.ports[0]: has no name; each of several"),
  Mistake(
    "port names", service("  ports: [{name: a, port: 1}, {name: a, port: 2}]"),
    "spec.ports[1]: the port name \"a\" stands twice"),
  Mistake(
    "ports", service("  ports: [{name: a, port: 1}, {name: b, port: 1}]"),
    "spec.ports[1]: the port 1 stands twice with the same protocol"),
  Mistake("target", service("  ports: [{port: 1, targetPort: A_b}]"), "ports[0].targetPort: \"A_b\" is not a port"),
  Mistake("target 0", service("  ports: [{port: 1, targetPort: 0}]"), "ports[0].targetPort: 0 is not a port"),
]

private let others: [Mistake] = [
  Mistake("slice's type", slice("addressType: IP"), "EndpointSlice default/db-1: addressType: \"IP\" is not one of"),
  Mistake(
    "slice's address", slice("addressType: IPv4\nendpoints: [{addresses: [fd00::1]}]"),
    "endpoints[0].addresses[0]: fd00::1 is not of the slice's addressType"),
  Mistake("no address", slice("addressType: IPv4\nendpoints: [{addresses: []}]"), "endpoints[0]: has no address"),
  Mistake(
    "slice's address twice", slice("addressType: IPv4\nendpoints: [{addresses: [1.2.3.4]}, {addresses: [1.2.3.4]}]"),
    "endpoints[1].addresses[0]: 1.2.3.4 stands twice in the slice"),
  Mistake(
    "mode", peer("{name: default, namespace: weft-system}", "{mtls: {mode: strict}}"),
    "spec.mtls.mode: \"strict\" is not one of STRICT, PERMISSIVE"),
  Mistake(
    "DISABLE", peer("{name: default, namespace: weft-system}", "{mtls: {mode: DISABLE}}"),
    "shop.yaml:4:21: PeerAuthentication weft-system/default: spec.mtls.mode: not supported yet"),
  Mistake(
    "selector", peer("{name: default, namespace: weft-system}", "{selector: {}, mtls: {mode: STRICT}}"),
    "spec.selector: not supported yet"),
  Mistake("namespace", peer("{name: default, namespace: shop}", "{}"), "metadata.namespace: not supported yet"),
  Mistake("another name", peer("{name: other, namespace: weft-system}", "{}"), "metadata.name: not supported yet"),
  Mistake(
    "in a List", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Node, metadata: {name: A}}",
    "shop.yaml:4:49: Node A: metadata.name: \"A\" is not a name"),
  Mistake(
    "in JSON", "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\n \"metadata\":{\"name\":7}}",
    "shop.yaml:2:21: Node 7: metadata.name: 7 is a number"),
]

@Suite struct DecoderErrorTests {
  @Test(arguments: syntax + objects + pods + services + others)
  func names(_ mistake: Mistake) {
    let problems = FileDecoder.decode(Array(mistake.yaml.utf8), file: "shop.yaml").problems.map(\.description)
    #expect(problems.count == 1)
    #expect(problems.first?.contains(mistake.sentence) == true, "\(problems.first ?? "no problem at all")")
  }

  @Test func bytesThatAreNotUTF8() {
    let decoded = FileDecoder.decode(Array("a: b\nc: ".utf8) + [0xff, 0xfe], file: "shop.yaml")
    #expect(decoded.problems.map(\.description) == ["shop.yaml:2:1: is not UTF-8 text: invalid leading UTF-8 octet"])
  }

  @Test func everyRefusedObjectOfAFileIsNamed() {
    let yaml =
      pod("spec: {nodeName: 1}") + "---\n" + service("  type: X") + "---\n"
      + pod("spec: {}").replacing("cart", with: "b")
    let decoded = FileDecoder.decode(Array(yaml.utf8), file: "shop.yaml")
    #expect(decoded.entries.map(\.name) == ["cart", "cart", "b"])
    #expect(decoded.problems.count == 2)
    #expect(decoded.isRefused)
  }
}
