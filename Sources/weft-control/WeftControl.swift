import ArgumentParser
import CLinux
import ControlPlane
import Dispatch
import Foundation
import Injection
import KubernetesAPI
import Logging
import MeshModel
import Observability

@main
struct WeftControl: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "weft-control",
    abstract: "Compiles Kubernetes objects for the mesh's nodes, streams them there, and is the mesh's CA.",
    version: WeftVersion.current, subcommands: [Serve.self, Issue.self], defaultSubcommand: Serve.self)
}

struct Serve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Serves discovery and certificates until SIGTERM (the default).")

  @Option(help: "The folder of YAML and JSON files; it is watched. Without it the objects are an API server's.")
  var config: String?
  @Option(
    help: "A kubeconfig file; without it, and without --config, this program is a pod and asks its own API server.")
  var kubeconfig: String?
  @Option(help: "The kubeconfig's context; its current one where this isn't said.")
  var context = ""
  @Option(help: "Where status.json is kept, and with --config the CA; needed with --config.")
  var stateDir: String?
  @Option(help: "This installation's namespace in the cluster (default: this pod's account's).")
  var namespace: String?
  @Option(help: "This replica's name among the others (default: the host's).")
  var podName: String?
  @Option(help: "Answers GET /healthz/live and /healthz/ready (default: 15021 with an API server, none with --config).")
  var healthPort: Int?
  @Option(help: "The injector's webhook, with an API server.")
  var webhookPort = Int(MeshPort.webhook)
  @Option(help: "The image of injected stubs.")
  var stubImage = InjectionSettings.standardImage
  @Option(
    help: "Whether stubs are injected as native sidecars: true, false, or auto, as the API server's version says.")
  var nativeSidecar = "auto"
  @Option(help: "The address to listen on.")
  var listen = "0.0.0.0"
  @Option(help: "For discovery and signing, under mTLS with node certificates.")
  var discoveryPort = Int(MeshPort.discovery)
  @Option(help: "For joining with a token.")
  var joinPort = Int(MeshPort.join)
  @Option(parsing: .upToNextOption, help: "Names and addresses that agents reach this program by.")
  var advertise: [String] = []
  @Option(help: "The trust domain of all identities.")
  var trustDomain = "cluster.local"
  @Option(help: "The suffix of Service names in DNS.")
  var clusterDomain = "cluster.local"
  @Option(help: "How long certificates live: 90s, 10m, 24h.")
  var certificateLifetime = "24h"
  @Option(help: "A file of lines `node token`, mode 600; needed with --config.")
  var joinTokens: String?
  @Option(help: "trace, debug, info, notice, warning, error or critical.")
  var logLevel = "info"

  func run() async throws {
    weft_return_freed_memory()
    guard let level = Logger.Level(rawValue: logLevel) else {
      throw ValidationError(
        "--log-level \(logLevel): one of \(Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    guard let domain = TrustDomain(trustDomain) else {
      throw ValidationError("--trust-domain \(trustDomain) is not a trust domain name (a-z, 0-9, -, _ and .)")
    }
    guard let lifetime = GoDuration(certificateLifetime) else {
      throw ValidationError("--certificate-lifetime \(certificateLifetime) is not a duration such as 90s, 10m or 24h")
    }
    if config != nil, stateDir == nil || joinTokens == nil {
      throw ValidationError("with --config, --state-dir and --join-tokens are needed")
    }
    let cluster = try apiServer()
    var configuration = ControlPlane.Configuration(
      folder: config, apiServer: cluster, stateDirectory: stateDir, joinTokensFile: joinTokens)
    // An account's own namespace says where this pod runs; a kubeconfig's is where its person works.
    configuration.namespace = namespace ?? (kubeconfig == nil ? cluster?.namespace : nil) ?? configuration.namespace
    guard DNSName.isLabel(configuration.namespace) else {
      throw ValidationError("--namespace \(configuration.namespace) is not a namespace's name")
    }
    configuration.replica = podName ?? ProcessInfo.processInfo.hostName
    configuration.healthPort = healthPort ?? (cluster == nil ? nil : Int(MeshPort.health))
    if cluster != nil { configuration.webhookPort = webhookPort }
    configuration.injection.image = stubImage
    guard nativeSidecar == "auto" || Bool(nativeSidecar) != nil else {
      throw ValidationError("--native-sidecar \(nativeSidecar): true, false or auto")
    }
    configuration.hasNativeSidecars = Bool(nativeSidecar)
    configuration.server.host = listen
    configuration.server.discoveryPort = discoveryPort
    configuration.server.joinPort = joinPort
    configuration.server.advertise = advertise
    configuration.server.certificateLifetime = lifetime.seconds
    configuration.trustDomain = domain
    configuration.clusterDomain = clusterDomain
    // Writing to a stream that a node has closed must not end the program.
    signal(SIGPIPE, SIG_IGN)
    let logger = Logger(label: "weft-control") { JSONLogHandler(program: $0, level: level) }
    try await failing {
      let control = try ControlPlane(configuration, logger: logger)
      let signals = terminationSignals { control.shutdown() }
      defer { for source in signals { source.cancel() } }
      try await control.run()
      logger.info("stopped")
    }
  }

  /// nil: a folder is read.
  private func apiServer() throws -> APIServer? {
    if config != nil {
      guard kubeconfig == nil, context.isEmpty else {
        throw ValidationError("--config reads a folder: --kubeconfig and --context don't belong beside it")
      }
      return nil
    }
    do {
      guard let kubeconfig else { return try APIServer.inCluster() }
      return try Kubeconfig(path: kubeconfig).server(context: context)
    } catch {
      throw ValidationError("\(error)")
    }
  }

  private func terminationSignals(_ handler: @escaping @Sendable () -> Void) -> [any DispatchSourceSignal] {
    [SIGTERM, SIGINT].map { number in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number)
      source.setEventHandler(handler: handler)
      source.activate()
      return source
    }
  }
}

struct Issue: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Makes a key and certificate with the CA of a state directory: tls.pem, key.pem and ca.pem.")

  @Option(help: "weft-control's state directory.")
  var stateDir: String
  @Option(help: "spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT")
  var spiffeId: String
  @Option(help: "The folder to write to.")
  var out: String
  @Option(help: "How long the certificate lives: 90s, 10m, 24h.")
  var certificateLifetime = "24h"

  func run() async throws {
    guard let lifetime = GoDuration(certificateLifetime) else {
      throw ValidationError("--certificate-lifetime \(certificateLifetime) is not a duration such as 90s, 10m or 24h")
    }
    try await failing {
      try IdentityIssue.write(
        spiffeID: spiffeId, stateDirectory: stateDir, to: out, lifetime: lifetime.seconds)
    }
  }
}

/// Ends the program with one sentence and status 1 where the body throws.
private func failing(_ body: () async throws -> Void) async throws {
  do {
    try await body()
  } catch {
    FileHandle.standardError.write(Data("weft-control: \(error)\n".utf8))
    throw ExitCode.failure
  }
}
