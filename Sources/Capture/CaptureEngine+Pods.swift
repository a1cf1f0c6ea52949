import CLibbpf
import Glibc
import MeshModel

extension CaptureEngine {
  /// Captures the pod's sockets from now on, or brings what is known of it up to date: calling it again with the same
  /// values changes nothing. A pod of the same name in another namespace is released first.
  public func enrol(_ pod: PodEnrolment) throws(CaptureError) {
    let open: UInt32 = pod.failMode == .open ? WEFT_FAIL_OPEN : 0
    try enter(
      uid: pod.uid, namespace: pod.namespace, addresses: pod.addresses, ports: pod.probePorts, flags: open,
      listener: pod.inboundListener)
  }

  /// Refuses the pod's connections (EPERM) and those to it, until it's enrolled or released. Where this fails, the pod's own
  /// connections are refused all the same if the kernel takes that one entry.
  public func hold(uid: String, namespace: NetworkNamespace, addresses: [IPAddress]) throws(CaptureError) {
    try enter(uid: uid, namespace: namespace, addresses: addresses, ports: [], flags: WEFT_HOLD, listener: nil)
  }

  /// Lets go of the pod: no entry and no attachment of it is left. Connections under way go on; new ones aren't captured.
  /// A pod that isn't known is fine.
  public func release(uid: String) throws(CaptureError) {
    guard let cookie = cookies[uid] else { return }
    try release(cookie: cookie)
    cookies[uid] = nil
  }

  /// Every pod in the pinned maps, also those that an agent before this one entered.
  public func knownPods() throws(CaptureError) -> [KnownPod] {
    var known: [KnownPod] = []
    for cookie in cookies.values {
      if let pod = try maps.pods.value(cookie, initial: weft_pod()) { known.append(KnownPod(pod, cookie: cookie)) }
    }
    return known.sorted { $0.uid < $1.uid }
  }

  /// nil: not known.
  public func statistics(uid: String) throws(CaptureError) -> PodStatistics? {
    guard let cookie = cookies[uid] else { return nil }
    return try maps.state.value(cookie, initial: weft_state()).map { PodStatistics($0) }
  }

  // The order: what the programs rely on is there before weft_netns says that they may, and gone after it's gone.
  private func enter(
    uid: String, namespace: NetworkNamespace, addresses: [IPAddress], ports: [UInt16], flags: UInt32, listener: CInt?
  ) throws(CaptureError) {
    guard (1...weft_pod.uidLimit).contains(uid.utf8.count), !uid.utf8.contains(0),
      (1...weft_pod.addressLimit).contains(addresses.count), ports.count <= weft_pod.portLimit
    else {
      throw CaptureError(
        .argument,
        "A pod needs a name of 1 to \(weft_pod.uidLimit) bytes, 1 to \(weft_pod.addressLimit) addresses and at most "
          + "\(weft_pod.portLimit) probe ports: \(uid)")
    }
    let cookie = namespace.cookie
    let before = try maps.pods.value(cookie, initial: weft_pod())
    if let other = cookies[uid], other != cookie { try release(uid: uid) }
    if let before, before.uidText != uid { try release(uid: before.uidText) }
    do throws(CaptureError) {
      let pod = weft_pod(uid: uid, flags: flags, addresses: addresses, ports: ports)
      try maps.pods.set(cookie, pod)
      cookies[uid] = cookie
      try maps.state.set(cookie, weft_state(), onlyNew: true)
      try removeEntries(of: before, keeping: pod, cookie: cookie)
      for address in addresses {
        let key = weft_address(address)
        try maps.addresses.set(key, cookie)
        if let listener {
          try addListener(listener, at: key, uid: uid)
        } else {
          try maps.listeners.remove(key)
        }
        for port in ports { try maps.probePorts.set(weft_probe_port(address: key, port: port, pad: 0), cookie) }
      }
      try PinnedLink.ensure(
        pin: PinLayout(configuration.bpffsDirectory).podLink(cookie),
        program: try object.program(CaptureProgram.skLookup.name), type: BPF_SK_LOOKUP, target: namespace.inode,
        descriptor: namespace.descriptor, what: "weft_sk_lookup to the network namespace of \(uid)")
      try maps.netns.set(cookie, weft_netns(flags: flags, addresses: addresses))
    } catch {
      // A pod that is to be held is refused from within, whatever else can't be done; the caller tries again.
      let isHeld =
        flags & WEFT_HOLD != 0 && (try? maps.netns.set(cookie, weft_netns(flags: flags, addresses: addresses))) != nil
      if before == nil, !isHeld {
        // What can't be removed now is found by knownPods() and released later.
        try? release(uid: uid)
      }
      throw error
    }
  }

  private func addListener(_ listener: CInt, at key: weft_address, uid: String) throws(CaptureError) {
    var listening: CInt = 0
    var length = socklen_t(MemoryLayout<CInt>.size)
    // The map would take a datagram socket too.
    guard getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) == 0, listening == 1 else {
      throw CaptureError(
        .argument, "\(uid) has no inbound listener: open a listening TCP socket in the pod's namespace first")
    }
    try maps.listeners.set(key, UInt64(listener))
  }

  private func release(cookie: UInt64) throws(CaptureError) {
    let pod = try maps.pods.value(cookie, initial: weft_pod())
    try maps.netns.remove(cookie)
    PinnedLink.remove(pin: PinLayout(configuration.bpffsDirectory).podLink(cookie))
    removeStubLinks(cookie: cookie)
    try removeEntries(of: pod, keeping: nil, cookie: cookie)
    for handshakes in [maps.flows, maps.clients] {
      for key in handshakes.keys(zero: weft_flow_key()) where key.netns == cookie { try handshakes.remove(key) }
    }
    try maps.state.remove(cookie)
    try maps.pods.remove(cookie)
  }

  /// Removes what `pod` has by its addresses and `kept` doesn't; nothing that another namespace has taken meanwhile.
  private func removeEntries(of pod: weft_pod?, keeping kept: weft_pod?, cookie: UInt64) throws(CaptureError) {
    guard let pod else { return }
    let addresses = Set(kept?.addresses ?? [])
    let ports = Set(kept?.ports ?? [])
    for address in pod.addresses {
      let key = weft_address(address)
      let stays = addresses.contains(address)
      guard try maps.addresses.value(key, initial: 0) == cookie else { continue }
      for port in pod.ports where !stays || !ports.contains(port) {
        try maps.probePorts.remove(weft_probe_port(address: key, port: port, pad: 0))
      }
      guard !stays else { continue }
      try maps.listeners.remove(key)
      try maps.addresses.remove(key)
    }
  }
}
