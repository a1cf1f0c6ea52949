import KubernetesAPI
import Logging

/// Sends one pod's newest status, and at last removes its object, however long the API server is away.
actor StatusWriter {
  private let client: KubernetesClient
  private let pod: PodName
  private let uid: String
  private let logger: Logger
  private var pending: JSONNode?
  private var sent: JSONNode?
  private var removes = false
  private var isWorking = false

  private static let pause = Duration.milliseconds(500)

  init(client: KubernetesClient, pod: PodName, uid: String, logger: Logger) {
    self.client = client
    self.pod = pod
    self.uid = uid
    self.logger = logger
  }

  func send(_ status: JSONNode) {
    pending = status
    work()
  }

  /// After what is still to be sent.
  func removeObject() {
    removes = true
    work()
  }

  private func work() {
    guard !isWorking else { return }
    isWorking = true
    Task { await self.run() }
  }

  private func run() async {
    defer { isWorking = false }
    while pending != nil || removes {
      let status = pending
      pending = nil
      do throws(KubernetesError) {
        if let status {
          if status != sent {
            // The UID makes it a conflict where another pod has the name by now.
            try await client.merge(
              ["metadata": ["uid": .text(uid)], "status": status], into: .pods, namespace: pod.namespace,
              name: pod.name,
              subresource: "status", manager: "weft-lab")
            sent = status
          }
        } else {
          try await client.delete(.pods, namespace: pod.namespace, name: pod.name, uid: uid, graceSeconds: 0)
          removes = false
        }
      } catch {
        switch error {
        case .notFound, .conflict:
          // It is gone, or another one's.
          pending = nil
          removes = false
          return
        default:
          logger.warning("pod \(pod): its status can't be written: \(error)")
          if pending == nil { pending = status }
          try? await Task.sleep(for: Self.pause)
        }
      }
    }
  }
}
