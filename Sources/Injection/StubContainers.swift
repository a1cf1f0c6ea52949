import KubernetesAPI

/// The containers and volumes of a stub. Names, paths and arguments are weft-stub's.
struct StubContainers {
  /// weft-stub runs as this user and group: the setup step of tunnel mode leaves its connections alone.
  static let user = 61_337

  let kind: StubKind
  let settings: InjectionSettings

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
      .init(key: "env", value: environment),
    ]
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
      var hooks: [JSONNode.Member] = [.init(key: "postStart", value: ["exec": ["command": wait]])]
      if kind == .tunnel {
        hooks.append(.init(key: "preStop", value: ["exec": ["command": ["/weft-stub", "wait", "--drained"]]]))
      }
      members.append(.init(key: "lifecycle", value: .object(hooks)))
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
          "requests": ["cpu": "5m", "memory": "8Mi"], "limits": ["memory": kind == .tunnel ? "64Mi" : "16Mi"],
        ]),
    ]
    return .object(members)
  }

  private var wait: JSONNode {
    switch kind {
    case .tunnel: ["/weft-stub", "wait"]
    case .handoff: ["/weft-stub", "handoff", "--check"]
    }
  }

  private var arguments: [String] {
    switch kind {
    case .handoff: return ["handoff", "--socket", "/run/weft/stub.sock"]
    case .tunnel:
      let host = "weft-control.\(settings.meshNamespace).svc.\(settings.clusterDomain)"
      return [
        "tunnel", "--control", "\(host):15010", "--join", "\(host):15012", "--join-token-file",
        "/var/run/secrets/weft/token", "--ca-file", "/etc/weft/roots/ca.pem",
      ]
    }
  }

  private var environment: JSONNode {
    let fields = [("POD_NAME", "metadata.name"), ("POD_NAMESPACE", "metadata.namespace"), ("POD_UID", "metadata.uid")]
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
