import Foundation

/// A program that prints a credential (client.authentication.k8s.io `ExecCredential`).
public struct ExecPlugin: Sendable, Decodable, Hashable {
  public struct Variable: Sendable, Decodable, Hashable {
    public var name: String
    public var value: String
  }

  public var apiVersion: String
  public var command: String
  public var args: [String]?
  public var env: [Variable]?
  /// Whether it is told for which cluster it is asked.
  public var provideClusterInfo: Bool?
  /// What it is told of that.
  var cluster: JSONNode?

  private enum CodingKeys: String, CodingKey {
    case apiVersion, command, args, env, provideClusterInfo
  }

  private static let maximumOutput = 1 << 20

  public struct Outcome: Sendable {
    /// Empty: none, but a certificate.
    public var token = ""
    public var certificate: ClientCertificate?
    /// Seconds since 1970; nil: it lives as long as it is accepted.
    public var expires: Int64?
  }

  /// Runs the program, which may ask nobody.
  /// - Throws: `KubeconfigError` where it fails, or prints neither a token nor a certificate.
  public func run() throws(KubeconfigError) -> Outcome {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [command] + (args ?? [])
    var environment = ProcessInfo.processInfo.environment
    for variable in env ?? [] { environment[variable.name] = variable.value }
    environment["KUBERNETES_EXEC_INFO"] = String(decoding: question.bytes, as: UTF8.self)
    process.environment = environment
    let output = Pipe()
    process.standardOutput = output
    process.standardInput = FileHandle.nullDevice
    do {
      try process.run()
      let data = try output.fileHandleForReading.read(upToCount: Self.maximumOutput) ?? Data()
      process.waitUntilExit()
      guard process.terminationStatus == 0 else {
        throw KubeconfigError("the credential plugin \(command) ended with status \(process.terminationStatus)")
      }
      return try outcome(of: Array(data))
    } catch let error as KubeconfigError {
      throw error
    } catch {
      throw KubeconfigError("the credential plugin \(command) can't be run: \(error)")
    }
  }

  /// An `ExecCredential` without its status.
  var question: JSONNode {
    var spec: [JSONNode.Member] = []
    if let cluster { spec.append(.init(key: "cluster", value: cluster)) }
    spec.append(.init(key: "interactive", value: false))
    return ["apiVersion": .text(apiVersion), "kind": "ExecCredential", "spec": .object(spec)]
  }

  /// The `Cluster` of client.authentication.k8s.io, the same in v1 and v1beta1. Its `config` would be an extension in the
  /// kubeconfig, of which none is read.
  static func cluster(of server: APIServer) -> JSONNode {
    var members: [JSONNode.Member] = [.init(key: "server", value: .text(server.url))]
    if !server.serverName.isEmpty { members.append(.init(key: "tls-server-name", value: .text(server.serverName))) }
    if server.isUnverified { members.append(.init(key: "insecure-skip-tls-verify", value: true)) }
    if !server.authorities.isEmpty {
      let data = Data(server.authorities).base64EncodedString()
      members.append(.init(key: "certificate-authority-data", value: .text(data)))
    }
    members.append(.init(key: "config", value: .null))
    return .object(members)
  }

  private func outcome(of output: [UInt8]) throws(KubeconfigError) -> Outcome {
    let status = (try? JSONReader.read(output))?["status"]
    var outcome = Outcome(token: status?["token"]?.text ?? "")
    let (chain, key) = (status?["clientCertificateData"]?.text ?? "", status?["clientKeyData"]?.text ?? "")
    if !chain.isEmpty || !key.isEmpty {
      guard !chain.isEmpty, !key.isEmpty else {
        throw KubeconfigError("the credential plugin \(command) printed a certificate without its key, or the reverse")
      }
      outcome.certificate = ClientCertificate(chain: Array(chain.utf8), key: Array(key.utf8))
    }
    guard !outcome.token.isEmpty || outcome.certificate != nil else {
      throw KubeconfigError("the credential plugin \(command) printed neither a token nor a certificate")
    }
    outcome.expires = status?["expirationTimestamp"]?.text.flatMap { ISO8601DateFormatter().date(from: $0) }
      .map { Int64($0.timeIntervalSince1970) }
    return outcome
  }
}
