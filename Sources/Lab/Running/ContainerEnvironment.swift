import Foundation

/// A container's environment variables, and `$(NAME)` in its command as Kubernetes expands it.
///
/// Beside what the Pod names there are PATH, HOME and LANG of the machine, HOSTNAME, LAB_DIR (the folder of YAML
/// files) and POD_DIR (a folder of the pod's own).
struct ContainerEnvironment {
  private(set) var values: [String: String] = [:]

  init(
    layout: Layout, state: LabState, pod: LabState.Pod, manifest: PodManifest, container: PodManifest.Container
  ) {
    let machine = ProcessInfo.processInfo.environment
    for name in ["HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"] { values[name] = machine[name] }
    values["PATH"] = Commands.searchPath
    values["HOSTNAME"] = pod.hostname
    values["LAB_DIR"] = state.directory
    values["POD_DIR"] = layout.podData(pod.id)
    for variable in container.environment {
      switch variable.value {
      case .literal(let text): values[variable.name] = expand(text)
      case .field(let path): values[variable.name] = Self.field(path, state: state, pod: pod, manifest: manifest)
      }
    }
  }

  /// `NAME=value` in the order of names.
  var list: [String] { values.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" } }
  var searchPath: String { values["PATH"] ?? "" }

  /// Replaces `$(NAME)` of a known variable; `$$` is a plain `$`; anything else stays.
  func expand(_ text: String) -> String { Self.expand(text, values: values) }

  static func expand(_ text: String, values: [String: String]) -> String {
    var result = ""
    var rest = Substring(text)
    while let dollar = rest.firstIndex(of: "$") {
      result += rest[..<dollar]
      rest = rest[rest.index(after: dollar)...]
      if rest.first == "$" {
        result += "$"
        rest = rest.dropFirst()
      } else if rest.first == "(", let end = rest.firstIndex(of: ")"),
        let value = values[String(rest[rest.index(after: rest.startIndex)..<end])]
      {
        result += value
        rest = rest[rest.index(after: end)...]
      } else {
        result += "$"
      }
    }
    return result + rest
  }

  private static func field(_ path: String, state: LabState, pod: LabState.Pod, manifest: PodManifest) -> String {
    switch path {
    case "metadata.name": pod.id.name
    case "metadata.namespace": pod.id.namespace
    case "metadata.uid": pod.id.description
    case "spec.nodeName": pod.node
    case "spec.serviceAccountName":
      ((try? manifest.manifest.root["spec"]["serviceAccountName"].string()) ?? nil) ?? "default"
    case "status.podIP": pod.addresses[0]
    case "status.podIPs": pod.addresses.joined(separator: ",")
    case "status.hostIP": state.nodes.first { $0.name == pod.node }?.addresses[0] ?? ""
    default: ""
    }
  }
}
