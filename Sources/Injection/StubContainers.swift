import KubernetesAPI

/// The containers and volumes of a stub. Names, paths and arguments are weft-stub's.
struct StubContainers {
  /// weft-stub runs as this user and group: the setup step of tunnel mode leaves its connections alone.
  static let user = 61_337

  let kind: StubKind
  let settings: InjectionSettings
  /// Only where it is no native sidecar: it ends when no other process of the pod is left, which it sees.
  var endsWithApplication = false

  /// Runs once before all else; handoff mode needs none.
  var setup: JSONNode? {
    guard kind == .tunnel else { return nil }
    return [
      "name": .text(InjectionNames.setup), "image": .text(settings.image), "args": ["init"],
      "securityContext": [
        "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false, "privileged": false, "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true, "capabilities": ["drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]],
        "seccompProfile": ["type": "RuntimeDefault"],
      ],
      "resources": ["requests": ["cpu": "5m", "memory": "8Mi"], "limits": ["memory": "64Mi"]],
    ]
  }

  /// An init container that stays, or an ordinary one.
  var stub: JSONNode {
    var members: [JSONNode.Member] = [
      .init(key: "name", value: .text(InjectionNames.stub)), .init(key: "image", value: .text(settings.image)),
      .init(key: "args", value: .array(arguments.map { .text($0) })),
    ]
    if kind == .tunnel { members.append(.init(key: "env", value: environment)) }
    if settings.hasNativeSidecars {
      members.append(.init(key: "restartPolicy", value: "Always"))
      // What comes after it starts once it's ready: each try waits itself, so that it's told at once.
      members.append(
        .init(
          key: "startupProbe",
          value: [
            "exec": ["command": wait], "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 60,
          ]))
    } else {
      // The containers after it start once the hook has ended.
      members.append(.init(key: "lifecycle", value: ["postStart": ["exec": ["command": wait]]]))
    }
    members += [
      .init(key: "volumeMounts", value: .array(mounts)),
      .init(
        key: "securityContext",
        value: [
          "runAsUser": .number("\(Self.user)"), "runAsGroup": .number("\(Self.user)"), "runAsNonRoot": true,
          "privileged": false, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
          "capabilities": ["drop": ["ALL"]], "seccompProfile": ["type": "RuntimeDefault"],
        ]),
      .init(
        key: "resources",
        value: [
          "requests": ["cpu": "5m", "memory": "8Mi"], "limits": ["memory": kind == .tunnel ? "128Mi" : "16Mi"],
        ]),
    ]
    return .object(members)
  }

  /// Both modes answer it. A native sidecar's is asked again and again; the other way has one try.
  private var wait: JSONNode { ["/weft-stub", "wait", "--timeout", settings.hasNativeSidecars ? "8" : "60"] }

  private var arguments: [String] {
    switch kind {
    case .handoff: return ["handoff", "--socket", "/run/weft/stub.sock"]
    case .tunnel:
      let host = "weft-control.\(settings.meshNamespace).svc.\(settings.clusterDomain)"
      let stays = settings.hasNativeSidecars || !endsWithApplication
      return [
        "run", "--pod", "$(POD_NAMESPACE)/$(POD_NAME)", "--pod-ip", "$(POD_IPS)", "--host-ip", "$(HOST_IP)",
        "--service-account", "$(SERVICE_ACCOUNT)", "--trust-domain", settings.trustDomain, "--control", "\(host):15010",
        "--join", "\(host):15012", "--token-file", "/var/run/secrets/weft/token", "--ca-file",
        "/etc/weft/roots/ca.pem",
      ]
        // A native sidecar is asked to stop once the application has ended, any other container together with it.
        + (settings.hasNativeSidecars ? [] : ["--linger-seconds", "5"])
        + (stays ? [] : ["--end-with-application"])
    }
  }

  private var environment: JSONNode {
    let fields = [
      ("POD_NAME", "metadata.name"), ("POD_NAMESPACE", "metadata.namespace"), ("POD_IPS", "status.podIPs"),
      ("HOST_IP", "status.hostIP"), ("SERVICE_ACCOUNT", "spec.serviceAccountName"),
    ]
    return .array(
      fields.map { name, path in ["name": .text(name), "valueFrom": ["fieldRef": ["fieldPath": .text(path)]]] })
  }

  private var mounts: [JSONNode] {
    switch kind {
    case .handoff: [["name": .text(InjectionNames.runVolume), "mountPath": "/run/weft", "readOnly": true]]
    case .tunnel:
      [
        ["name": .text(InjectionNames.tokenVolume), "mountPath": "/var/run/secrets/weft", "readOnly": true],
        ["name": .text(InjectionNames.rootsVolume), "mountPath": "/etc/weft/roots", "readOnly": true],
      ]
    }
  }

  var volumes: [JSONNode] {
    switch kind {
    // Only the folder of the agent's socket for stubs: the other sockets of the node are none of a pod's business. A pod
    // on a node without an agent waits, and an event says for what.
    case .handoff:
      [["name": .text(InjectionNames.runVolume), "hostPath": ["path": "/run/weft/stub", "type": "Directory"]]]
    case .tunnel:
      [
        [
          "name": .text(InjectionNames.tokenVolume),
          "projected": [
            "sources": [["serviceAccountToken": ["path": "token", "audience": "weft", "expirationSeconds": 3600]]]
          ],
        ],
        ["name": .text(InjectionNames.rootsVolume), "configMap": ["name": "weft-roots"]],
      ]
    }
  }
}
