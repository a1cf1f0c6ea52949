import Injection
import KubernetesAPI

/// A Pod as the API server would hand it over, small.
func samplePod(
  labels: JSONNode = ["app": "web"], annotations: JSONNode? = nil, spec extra: [(String, JSONNode)] = []
) -> JSONNode {
  var metadata: [JSONNode.Member] = [.init(key: "name", value: "web"), .init(key: "labels", value: labels)]
  if let annotations { metadata.append(.init(key: "annotations", value: annotations)) }
  var spec: [JSONNode.Member] = [.init(key: "containers", value: [["name": "app", "image": "nginx"]])]
  for (key, value) in extra {
    spec.removeAll { $0.key == key }
    spec.append(.init(key: key, value: value))
  }
  return ["metadata": .object(metadata), "spec": .object(spec)]
}

func settings(native: Bool = true, renews: Bool = false) -> InjectionSettings {
  var settings = InjectionSettings()
  settings.hasNativeSidecars = native
  settings.renewsEarlier = renews
  return settings
}

/// The pod with its stub.
func injected(
  _ pod: JSONNode, _ kind: StubKind? = nil, native: Bool = true, renews: Bool = false
) throws -> JSONNode {
  try pod.applying(StubInjector(settings(native: native, renews: renews)).inject(pod, kind: kind).steps)
}

/// What a refusal says; empty: there was none.
func refusal(of pod: JSONNode, native: Bool = true) -> String {
  do throws(InjectionRefusal) {
    _ = try StubInjector(settings(native: native)).inject(pod)
    return ""
  } catch {
    return error.description
  }
}

func names(_ pod: JSONNode, _ list: String) -> [String] {
  (pod["spec"]?[list]?.elements ?? []).compactMap { $0["name"]?.text }
}

func container(_ pod: JSONNode, _ list: String, _ name: String) -> JSONNode? {
  pod["spec"]?[list]?.elements.first { $0["name"]?.text == name }
}
