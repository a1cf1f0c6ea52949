import KubernetesAPI
import Testing

@testable import CLI

@Suite struct PreflightTests {
  @Test(arguments: [
    ("6.1.0-9-amd64", true), ("5.15.0-1051-aws", true), ("5.14.21-default", false), ("4.18.0-372.el8", false),
    ("5.4", false), ("6", false), ("", false), ("six.one", false),
  ])
  func kernelsFrom515OnAreNewEnough(kernel: String, expected: Bool) {
    #expect(Preflight.isNewEnough(kernel) == expected)
  }

  @Test func anOldNodeIsNamedWithWhatHelps() throws {
    func node(_ name: String, _ kernel: String, _ system: String = "linux") throws -> JSONNode {
      let text = """
        {"metadata":{"name":"\(name)"},"status":{"nodeInfo":{"kernelVersion":"\(kernel)","operatingSystem":"\(system)"}}}
        """
      return try JSONReader.read(Array(text.utf8))
    }
    let check = Preflight.kernels([
      try node("a", "6.1"), try node("b", "4.18.0"), try node("w", "10.0.17763", "windows"),
    ])
    #expect(!check.ok)
    #expect(check.detail.contains("b has 4.18.0"))
    #expect(!check.detail.contains("a has"))
    #expect(check.repair?.contains("weft.dev/mode: stub") == true)
    #expect(check.repair?.contains("kubectl label node NODE weft.dev/agent=disabled") == true)
    #expect(Preflight.kernels([try node("a", "6.1"), try node("w", "10.0", "windows")]).ok)
    #expect(!Preflight.kernels([]).ok)
  }

  @Test func whatIsMissingIsSaid() throws {
    let rights = Preflight.rights(missing: [.init(verb: "create", kind: .customResourceDefinition)])
    #expect(!rights.ok && rights.detail.contains("create customresourcedefinitions"))
    #expect(Preflight.rights(missing: []).ok)
    #expect(!Preflight.gateway(missing: ["httproutes"]).ok)
    let namespace = try JSONReader.read(
      Array(#"{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}"#.utf8))
    #expect(!Preflight.podSecurity(namespace, policies: 0).ok)
    #expect(Preflight.podSecurity(nil, policies: 0).ok)
    #expect(!Preflight.server(ServerVersion(minor: 19)).ok)
    #expect(Preflight.server(ServerVersion(minor: 20)).detail.contains("CEL"))
    #expect(!Preflight.server(ServerVersion(minor: 25)).detail.contains("CEL"))
  }
}
