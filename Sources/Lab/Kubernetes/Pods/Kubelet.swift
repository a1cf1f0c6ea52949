import Foundation
import KubernetesAPI
import Logging

/// The kubelet of every node of a lab, in one process: takes the pods bound to its nodes, and does kube-proxy's part and
/// the cluster's DNS beside.
public actor Kubelet {
  private let context: KubeletContext
  private let services: ServiceKeeper
  private var workers: [String: PodWorker] = [:]

  /// Until the process is ended.
  /// - Throws: `LabError` where there is no such lab, or its cluster can't be spoken to.
  public static func run(_ name: LabName) async throws {
    let layout = try Lab.layout(name)
    let state = try LabState.load(layout)
    guard state.cluster != nil else { throw LabError("lab \"\(name)\" runs without Kubernetes") }
    guard let images = FileManager.default.contents(atPath: layout.images) else {
      throw LabError("\(layout.images): can't be read")
    }
    let client = try KubernetesClient(try Kubeconfig(path: layout.kubeconfig).server())
    var logger = Logger(label: "weft-lab.kubelet")
    logger.logLevel = .info
    let context = KubeletContext(
      layout: layout, state: state, client: client, cache: ObjectCache(),
      images: try JSONDecoder().decode(ImageTable.self, from: images), addresses: AddressPool(),
      containers: ContainerTable(path: layout.podRecords), logger: logger)
    await Kubelet(context).run()
  }

  private init(_ context: KubeletContext) {
    self.context = context
    services = ServiceKeeper(layout: context.layout, state: context.state, cache: context.cache, logger: context.logger)
  }

  private func run() async {
    await withTaskGroup(of: Void.self) { group in
      for node in context.state.nodes {
        let keeper = NodeKeeper(node: node, client: context.client, logger: context.logger)
        group.addTask { await keeper.run() }
      }
      let objects: [KubernetesResource] = [
        .services, .endpointSlices, .endpointSlicesBeta, .secrets, .configMaps, .pods,
      ]
      for resource in objects { group.addTask { await self.follow(resource) } }
      await serve(&group)
    }
  }

  /// The kubelet's own server, for `kubectl exec` and `kubectl logs`.
  private func serve(_ group: inout TaskGroup<Void>) async {}

  private nonisolated func follow(_ resource: KubernetesResource) async {
    await Reflector(resource, client: context.client, logger: context.logger).run { news in
      switch news {
      case .change(let change): await self.take(change, resource)
      case .missing: self.context.cache.forget(resource)
      case .failed: break
      }
      return true
    }
  }

  private func take(_ change: ReflectorState.Change, _ resource: KubernetesResource) async {
    let changes = context.cache.take(change, of: resource)
    switch resource {
    case .pods: for change in changes { takePod(change) }
    case .services, .endpointSlices, .endpointSlicesBeta:
      let services = services
      if !changes.isEmpty { Task { await services.changed() } }
    default:
      for change in changes {
        let object: KubernetesObject
        switch change {
        case .changed(let changed), .deleted(let changed): object = changed
        }
        let name = PodName(namespace: object.namespace, name: object.name)
        for worker in workers.values { Task { await worker.objectChanged(resource, name) } }
      }
    }
  }

  private func takePod(_ change: ObjectCache.Change) {
    switch change {
    case .changed(let object):
      guard let spec = PodSpec(object), let node = context.node(spec.node) else { return }
      if let worker = workers[spec.uid] {
        Task { await worker.update(spec) }
        return
      }
      if spec.isFinished {
        // Nothing of it runs: only its object is left to remove.
        if spec.isDeleted {
          let client = context.client
          Task {
            try? await client.delete(
              .pods, namespace: spec.id.namespace, name: spec.id.name, uid: spec.uid, graceSeconds: 0)
          }
        }
        return
      }
      let worker = PodWorker(spec, node: node, context: context) { [weak self] in await self?.ended(spec.uid) }
      workers[spec.uid] = worker
      Task { await worker.begin() }
    case .deleted(let object):
      guard let uid = object.content["metadata"]?["uid"]?.text, let worker = workers[uid] else { return }
      Task { await worker.objectGone() }
    }
  }

  private func ended(_ uid: String) { workers[uid] = nil }
}
