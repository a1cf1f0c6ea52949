import KubernetesAPI
import MeshModel

/// Something that `--set NAME=VALUE` changes.
struct InstallSetting: Sendable {
  var name: String
  /// For help: what it is, with the default.
  var meaning: String
  /// What values may be, where this one isn't such; nil: it may be taken.
  var problem: @Sendable (String) -> String?
  var change: @Sendable (String, inout Manifest) -> Void

  static let all: [InstallSetting] = [
    InstallSetting(
      name: "image.registry", meaning: "where images come from; ghcr.io/weft-mesh",
      problem: expecting("a registry with a path, such as registry.example:5000/weft") { text in
        text.utf8.count <= 200 && text.split(separator: "/", omittingEmptySubsequences: false).allSatisfy(isImagePart)
      },
      change: { value, manifest in
        manifest.editImages { "\(value)/\($0.split(separator: "/").last ?? "")" }
      }),
    InstallSetting(
      name: "image.tag", meaning: "of all images; \(WeftVersion.current)",
      problem: expecting("a tag of 1 to 128 letters, digits, _, . and -") { text in
        1...128 ~= text.utf8.count
          && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "_.-".contains($0)) }
          && text.first != "." && text.first != "-"
      },
      change: { value, manifest in
        manifest.editImages { "\($0.prefix(upTo: $0.lastIndex(of: ":") ?? $0.endIndex)):\(value)" }
      }),
    InstallSetting(
      name: "image.pullPolicy", meaning: "Always, IfNotPresent or Never; IfNotPresent",
      problem: oneOf(["Always", "IfNotPresent", "Never"]),
      change: { value, manifest in
        manifest.editContainers { $0.set(["imagePullPolicy"], to: .text(value)) }
      }),
    InstallSetting(
      name: "control.replicas", meaning: "of weft-control, 1 to 9; the overlay's",
      problem: expecting("a whole number from 1 to 9") { Int($0).map { 1...9 ~= $0 } ?? false },
      change: { value, manifest in
        if manifest.identity.kind == .deployment { manifest.content.set(["spec", "replicas"], to: .number(value)) }
      }),
    resource("control.cpu", "requested by weft-control; the overlay's", .deployment, ["requests", "cpu"]),
    resource("control.memory", "of weft-control at most; the overlay's", .deployment, ["limits", "memory"]),
    resource("agent.cpu", "requested by weft-agent and its proxy; the overlay's", .daemonSet, ["requests", "cpu"]),
    resource(
      "agent.memory", "of weft-agent and its proxy at most; the overlay's", .daemonSet, ["limits", "memory"]),
    InstallSetting(
      name: "agent.entersPods",
      meaning: "true or false: without SYS_ADMIN and SYS_PTRACE, serving only pods that have a stub; true",
      problem: oneOf(["true", "false"]),
      change: { value, manifest in
        guard value == "false", manifest.identity.kind == .daemonSet else { return }
        manifest.editContainers { container in
          container.removeElements(["securityContext", "capabilities", "add"]) {
            ["SYS_ADMIN", "SYS_PTRACE"].contains($0.text)
          }
          // Some runtimes' profiles allow bpf(2) for SYS_ADMIN alone, whatever CAP_BPF says.
          container.set(["securityContext", "seccompProfile", "type"], to: .text("Unconfined"))
        }
      }),
    InstallSetting(
      name: "agent.maxUnavailable",
      meaning:
        "agents that an upgrade may replace at a time, with those of nodes that aren't ready, 1 to 1000 or 1% to 100%; 1",
      problem: expecting("a whole number from 1 to 1000, or 1% to 100%") { share($0) != nil },
      change: { value, manifest in
        guard manifest.identity.kind == .daemonSet else { return }
        manifest.content.set(["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"], to: share(value))
      }),
    argument(
      "agent.holdUnknown", "how long a pod is held that an agent knows nothing of, 0 to 3600 seconds; 10",
      flag: "--hold-unknown", seconds(upTo: 3600)),
    argument(
      "agent.holdUnseen", "how long new pods are held while no agent runs, 0 to 3600 seconds; 120",
      flag: "--hold-unseen", seconds(upTo: 3600)),
    argument(
      "agent.drainSeconds", "how long a replaced proxy may finish its connections, 0 to 86400 seconds; 600",
      flag: "--drain-seconds", seconds(upTo: 86_400)),
    argument(
      "mesh.trustDomain", "of all identities; cluster.local", flag: "--trust-domain",
      expecting("a trust domain: 1 to 255 of a-z, 0-9, -, _ and .") { text in
        1...255 ~= text.utf8.count
          && text.allSatisfy { $0.isASCII && ($0.isLowercase || $0.isNumber || "-_.".contains($0)) }
      }),
    InstallSetting(
      name: "mesh.clusterDomain", meaning: "the suffix of Services' names; cluster.local",
      problem: expecting("a name in DNS") { DNSName.isSubdomain($0) },
      change: { value, manifest in
        manifest.editArguments { argument in
          if argument.hasPrefix("--cluster-domain=") { return "--cluster-domain=\(value)" }
          return argument.replacing(".svc.cluster.local:", with: ".svc.\(value):")
        }
      }),
    argument(
      "mesh.certificateLifetime", "of workloads and nodes, 10m to 2160h; 24h", flag: "--certificate-lifetime",
      expecting("a time of 10m to 2160h, such as 90m or 24h", lifetime)),
    argument(
      "log.level", "debug, info, warning or error; info", flag: "--log-level",
      oneOf(["debug", "info", "warning", "error"])),
    InstallSetting(
      name: "webhook.failurePolicy",
      meaning:
        "of pods while no weft-control answers, Fail or Ignore; Ignore in namespaces of the mesh, Fail for stubs elsewhere",
      problem: oneOf(["Fail", "Ignore"]),
      change: { value, manifest in
        guard manifest.identity.kind == .mutatingWebhookConfiguration else { return }
        manifest.content.editElements(["webhooks"]) { webhook in
          // It is asked of pods that have nothing to do with the mesh.
          if webhook["name"]?.text != "account.injector.weft.dev" { webhook.set(["failurePolicy"], to: .text(value)) }
        }
      }),
  ]

  private static func expecting(
    _ what: String, _ isFine: @escaping @Sendable (String) -> Bool
  ) -> @Sendable (String) -> String? {
    { isFine($0) ? nil : what }
  }

  private static func oneOf(_ values: [String]) -> @Sendable (String) -> String? {
    expecting("one of \(values.joined(separator: ", "))") { values.contains($0) }
  }

  private static func resource(
    _ name: String, _ meaning: String, _ kind: InstallKind, _ path: [String]
  ) -> InstallSetting {
    InstallSetting(
      name: name, meaning: meaning,
      problem: expecting("a quantity such as 100m or 256Mi", isQuantity),
      change: { value, manifest in
        guard manifest.identity.kind == kind else { return }
        manifest.editContainers { $0.set(["resources"] + path, to: .text(value)) }
      })
  }

  private static func argument(
    _ name: String, _ meaning: String, flag: String, _ problem: @escaping @Sendable (String) -> String?
  ) -> InstallSetting {
    InstallSetting(
      name: name, meaning: meaning, problem: problem,
      change: { value, manifest in
        manifest.editArguments { $0.hasPrefix("\(flag)=") ? "\(flag)=\(value)" : $0 }
      })
  }

  private static func isImagePart(_ part: Substring) -> Bool {
    !part.isEmpty
      && part.allSatisfy { $0.isASCII && ($0.isLowercase || $0.isNumber || "-_.:".contains($0)) }
  }

  private static func isQuantity(_ text: String) -> Bool {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    return 1...12 ~= digits.count && ["", "m", "k", "M", "G", "Ki", "Mi", "Gi"].contains(text.dropFirst(digits.count))
  }

  /// A number of nodes or a percentage, as the API takes it; nil for anything else.
  private static func share(_ text: String) -> JSONNode? {
    let isPercentage = text.hasSuffix("%")
    guard let count = Int(isPercentage ? text.dropLast() : text[...]), 1...(isPercentage ? 100 : 1000) ~= count else {
      return nil
    }
    return isPercentage ? .text("\(count)%") : .number("\(count)")
  }

  private static func seconds(upTo bound: UInt64) -> @Sendable (String) -> String? {
    expecting("0 to \(bound), in seconds") { UInt64($0).map { $0 <= bound } ?? false }
  }

  private static func lifetime(_ text: String) -> Bool {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let units: [Substring: Int] = ["m": 60, "h": 3600]
    guard let count = Int(digits), count < 1_000_000, let unit = units[text.dropFirst(digits.count)] else {
      return false
    }
    return 600...7_776_000 ~= count * unit
  }
}

extension Manifest {
  fileprivate mutating func editImages(_ change: (String) -> String) {
    editContainers { container in
      guard let image = container["image"]?.text else { return }
      container.set(["image"], to: .text(change(image)))
    }
    let stub = "--stub-image="
    editArguments { $0.hasPrefix(stub) ? stub + change(String($0.dropFirst(stub.count))) : $0 }
  }

  fileprivate mutating func editArguments(_ change: (String) -> String) {
    editContainers { container in
      container.editElements(["args"]) { argument in
        if let text = argument.text { argument = .text(change(text)) }
      }
    }
  }
}
