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
    environment["KUBERNETES_EXEC_INFO"] =
      "{\"apiVersion\":\"\(apiVersion)\",\"kind\":\"ExecCredential\",\"spec\":{\"interactive\":false}}"
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
