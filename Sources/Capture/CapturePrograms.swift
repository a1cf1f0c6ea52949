import CLibbpf

/// The programs of `weft.bpf.o` and where each is attached.
struct CaptureProgram {
  enum Place {
    /// The capture root: the sockets of everything below.
    case root
    /// The agent's cgroup: the sockets that it opens in pods.
    case agent
    /// Each pod's network namespace.
    case pod
    /// The folders that hold pods: sockets of pods alone.
    case podsFolder
  }

  let name: String
  let attachType: bpf_attach_type
  let place: Place

  /// Attached to one place, and pinned under its name.
  var isSingle: Bool { place == .root || place == .agent }

  static let ingress = CaptureProgram(name: "weft_ingress", attachType: BPF_CGROUP_INET_INGRESS, place: .podsFolder)
  static let skLookup = CaptureProgram(name: "weft_sk_lookup", attachType: BPF_SK_LOOKUP, place: .pod)

  /// In the order in which they're attached: what others rely on first, capture itself last.
  static let all: [CaptureProgram] = [
    skLookup,
    ingress,
    CaptureProgram(name: "weft_getsockopt", attachType: BPF_CGROUP_GETSOCKOPT, place: .agent),
    CaptureProgram(name: "weft_setsockopt", attachType: BPF_CGROUP_SETSOCKOPT, place: .agent),
    CaptureProgram(name: "weft_sockops", attachType: BPF_CGROUP_SOCK_OPS, place: .root),
    CaptureProgram(name: "weft_getpeername4", attachType: BPF_CGROUP_INET4_GETPEERNAME, place: .root),
    CaptureProgram(name: "weft_getpeername6", attachType: BPF_CGROUP_INET6_GETPEERNAME, place: .root),
    CaptureProgram(name: "weft_getsockname4", attachType: BPF_CGROUP_INET4_GETSOCKNAME, place: .root),
    CaptureProgram(name: "weft_getsockname6", attachType: BPF_CGROUP_INET6_GETSOCKNAME, place: .root),
    CaptureProgram(name: "weft_recvmsg4", attachType: BPF_CGROUP_UDP4_RECVMSG, place: .root),
    CaptureProgram(name: "weft_recvmsg6", attachType: BPF_CGROUP_UDP6_RECVMSG, place: .root),
    CaptureProgram(name: "weft_sendmsg4", attachType: BPF_CGROUP_UDP4_SENDMSG, place: .root),
    CaptureProgram(name: "weft_sendmsg6", attachType: BPF_CGROUP_UDP6_SENDMSG, place: .root),
    CaptureProgram(name: "weft_sock_create", attachType: BPF_CGROUP_INET_SOCK_CREATE, place: .root),
    CaptureProgram(name: "weft_connect4", attachType: BPF_CGROUP_INET4_CONNECT, place: .root),
    CaptureProgram(name: "weft_connect6", attachType: BPF_CGROUP_INET6_CONNECT, place: .root),
  ]
}

/// The maps of `weft.bpf.o`, typed.
struct CaptureMaps {
  let netns: BPFMap<UInt64, weft_netns>
  let state: BPFMap<UInt64, weft_state>
  let pods: BPFMap<UInt64, weft_pod>
  let addresses: BPFMap<weft_address, UInt64>
  let listeners: BPFMap<weft_address, UInt64>
  let probePorts: BPFMap<weft_probe_port, UInt64>
  let nodes: BPFMap<weft_address, UInt32>
  let exclude: BPFMap<weft_prefix, UInt32>
  let bypass: BPFMap<UInt64, UInt32>
  let heartbeat: BPFMap<UInt32, weft_heartbeat>
  let flows: BPFMap<weft_flow_key, weft_sockaddr>
  let clients: BPFMap<weft_flow_key, weft_sockaddr>
  let hold: BPFMap<UInt64, UInt32>
  let holdScope: BPFMap<UInt32, weft_hold_scope>

  init(_ object: LoadedObject) throws(CaptureError) {
    netns = try object.map("weft_netns")
    state = try object.map("weft_state")
    pods = try object.map("weft_pods")
    addresses = try object.map("weft_addresses")
    listeners = try object.map("weft_listeners")
    probePorts = try object.map("weft_probe_ports")
    nodes = try object.map("weft_nodes")
    exclude = try object.map("weft_exclude")
    bypass = try object.map("weft_bypass")
    heartbeat = try object.map("weft_heartbeat")
    flows = try object.map("weft_flows")
    clients = try object.map("weft_clients")
    hold = try object.map("weft_hold")
    holdScope = try object.map("weft_hold_scope")
  }
}
