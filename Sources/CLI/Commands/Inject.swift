import ArgumentParser
import FoundationEssentials
import Glibc
import Injection
import KubernetesAPI
import MeshModel

struct Inject: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Puts a stub into the pods of a manifest, and prints the manifest for kubectl apply.",
    discussion: """
      Takes Pods, and what makes pods: Deployment, StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Job, CronJob, \
      PodTemplate, and Lists of these. Everything else is printed as it was. Injecting again changes nothing, and --remove \
      takes the stub out. What was done is told on standard error.

      Asks no cluster. In a cluster the webhook of weft-control does the same where weft.dev/mode: stub labels a namespace, \
      a ServiceAccount or a pod.

      Exit status: 0 done, 1 a pod can't have a stub (nothing is printed), 2 usage, or no manifest.
      """)

  @Argument(help: "A file with YAML documents or JSON; - reads standard input.")
  var file: String

  @Flag(help: "Take the stubs out.")
  var remove = false

  @Option(help: "What the stub does: handoff or tunnel. Default: the pod's annotation weft.dev/stub, or tunnel.")
  var mode: StubKind?

  @Option(help: "The image of weft-stub.")
  var image = InjectionSettings.standardImage

  @Option(help: "The namespace of weft-control.")
  var meshNamespace = "weft-system"

  @Option(help: "The mesh's trust domain, as weft install --set mesh.trustDomain has it.")
  var trustDomain = "cluster.local"

  @Option(help: "The suffix of Services' names in the cluster.")
  var clusterDomain = "cluster.local"

  @Option(
    help: """
      Whether the cluster runs init containers with restartPolicy Always as sidecars (Kubernetes 1.29 and later): true, \
      false, or auto, which takes it that it does.
      """)
  var nativeSidecar = NativeSidecar.auto

  enum NativeSidecar: String, ExpressibleByArgument, CaseIterable { case auto, `true`, `false` }

  func validate() throws {
    guard !image.isEmpty, image.utf8.count <= 1024, !image.contains(where: \.isWhitespace) else {
      throw ValidationError("--image is no image's name.")
    }
    guard TrustDomain(trustDomain) != nil else { throw ValidationError("--trust-domain \(trustDomain): is none") }
    guard DNSName.isSubdomain(clusterDomain) else {
      throw ValidationError("--cluster-domain \(clusterDomain): is no name")
    }
  }

  func run() throws {
    let (text, report) = try result(of: ManifestFile.read(file))
    for line in report { ManifestFile.tell(line) }
    print(text, terminator: "")
  }

  /// The new manifest, and a line for each pod in it.
  func result(of text: String) throws -> (text: String, report: [String]) {
    var manifest: ManifestText
    do {
      manifest = try ManifestText(text)
    } catch let failure as Failure {
      throw Failure(message: "\(file): \(failure.message)", status: failure.status)
    }
    var report: [String] = []
    for index in manifest.values.indices {
      for place in WorkloadDocument.pods(in: manifest.values[index]) {
        guard let pod = manifest.values[index].value(at: place.path) else { continue }
        do {
          let (steps, lines) = try change(pod)
          try manifest.apply(steps.map { $0.under(place.path) }, to: index)
          report += lines.map { "\(place.name): \($0)" }
        } catch let refusal as InjectionRefusal {
          throw Failure(message: "\(file): \(place.name): \(refusal)", status: .unhealthy)
        }
      }
    }
    return (try manifest.text(), report)
  }

  private func change(_ pod: JSONNode) throws -> ([PatchStep], [String]) {
    var settings = InjectionSettings()
    settings.image = image
    settings.meshNamespace = meshNamespace
    settings.trustDomain = trustDomain
    settings.clusterDomain = clusterDomain
    settings.hasNativeSidecars = nativeSidecar != .false
    settings.renewsEarlier = true
    let injector = StubInjector(settings)
    if remove {
      let steps = try injector.remove(pod)
      return (steps, [steps.isEmpty ? "holds no stub" : "the stub is taken out"])
    }
    let marks = ObjectMarks(metadata: pod["metadata"])
    if marks.labels[InjectionNames.mode] == "node" {
      return ([], ["left as it is, as its label \(InjectionNames.mode): node asks"])
    }
    if marks.labels[InjectionNames.mesh] == "disabled" {
      return ([], ["left as it is: its label \(InjectionNames.mesh): disabled keeps it out of the mesh"])
    }
    let injection = try injector.inject(pod, kind: mode)
    let isRefused = injection.steps.isEmpty && !injection.warnings.isEmpty
    let outcome = injection.steps.isEmpty ? "holds its stub already" : "the stub is in it"
    return (injection.steps, (isRefused ? [] : [outcome]) + injection.warnings)
  }
}

extension StubKind: ExpressibleByArgument {}

enum ManifestFile {
  /// Bytes of one manifest.
  static let maximumSize = 32 << 20

  /// - Parameter name: `-`: standard input.
  static func read(_ name: String) throws -> String {
    let descriptor = name == "-" ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw Failure(message: "\(name) can't be read: \(String(cString: strerror(errno)))", status: .usage)
    }
    defer { if name != "-" { close(descriptor) } }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = Glibc.read(descriptor, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else {
        throw Failure(message: "\(name) can't be read: \(String(cString: strerror(errno)))", status: .usage)
      }
      if count == 0 { break }
      bytes += buffer[..<count]
      guard bytes.count <= maximumSize else {
        throw Failure(message: "\(name) has more than \(maximumSize >> 20) MiB", status: .usage)
      }
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Failure(message: "\(name) is no UTF-8 text", status: .usage)
    }
    return text
  }

  static func tell(_ line: String) {
    let bytes = Array("\(line)\n".utf8)
    // Nothing is left to do where standard error can't be written.
    _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}
