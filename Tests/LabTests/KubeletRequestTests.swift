import Foundation
import Testing

@testable import Lab

@Suite struct KubeletRequestTests {
  private static let name = ContainerName(pod: PodName(namespace: "shop", name: "till"), container: "echo")

  @Test func exec() throws {
    let request = try KubeletRequest(
      uri: "/exec/shop/till/echo?command=sh&command=-c&command=echo+%2B%26+a%20b&input=1&output=1")
    let exec = KubeletRequest.Exec(
      command: ["sh", "-c", "echo +& a b"], hasInput: true, hasOutput: true, hasErrors: false)
    #expect(request == .exec(Self.name, exec))
  }

  @Test func logs() throws {
    #expect(try KubeletRequest(uri: "/containerLogs/shop/till/echo") == .logs(Self.name, .init()))
    #expect(
      try KubeletRequest(uri: "/containerLogs/shop/till/echo?follow=true&tailLines=3&limitBytes=9&timestamps=false")
        == .logs(Self.name, .init(follows: true, tail: 3, limit: 9)))
  }

  @Test(arguments: [
    ("/", 404), ("/pods", 404), ("/exec/shop/till", 404), ("/exec/shop/till/echo/more?command=a", 404),
    ("/exec/shop//echo?command=a", 404), ("/exec/shop/../echo?command=a", 404), ("/run/shop/till/echo?command=a", 404),
    ("/exec/shop/till/echo", 400), ("/exec/shop/till/echo?command=", 400), ("/exec/shop/till/echo?command=a%00", 400),
    ("/exec/shop/till/echo?command=sh&tty=1", 400), ("/containerLogs/shop/till/echo?tailLines=-1", 400),
    ("/containerLogs/shop/till/echo?tailLines=x", 400), ("/containerLogs/shop/till/echo?previous=true", 400),
    ("/containerLogs/shop/till/echo?timestamps=true", 400),
  ]) func refused(_ uri: String, _ status: Int) {
    let refusal = #expect(throws: KubeletRequest.Refusal.self) { try KubeletRequest(uri: uri) }
    #expect(refusal?.status == status, "\(String(describing: refusal))")
  }

  @Test func bounds() {
    let many = String(repeating: "&command=a", count: KubeletRequest.maximumArguments + 1).dropFirst()
    let long = "command=" + String(repeating: "a", count: KubeletRequest.maximumCommandBytes + 1)
    for query in [String(many), long] {
      #expect(throws: KubeletRequest.Refusal.self) { try KubeletRequest(uri: "/exec/shop/till/echo?\(query)") }
    }
  }

  @Test func statuses() {
    #expect(String(decoding: ExecStatus.exited(0).json, as: UTF8.self) == #"{"metadata":{},"status":"Success"}"#)
    #expect(
      String(decoding: ExecStatus.exited(7).json, as: UTF8.self).contains(#"{"message":"7","reason":"ExitCode"}"#))
    #expect(String(decoding: ExecStatus.failed("no sh").json, as: UTF8.self).contains(#""message":"no sh""#))
  }

  @Test(arguments: [
    ("", 3, ""), ("a\nb\nc\n", 2, "b\nc\n"), ("a\nb\nc", 2, "b\nc"), ("a\nb\n", 5, "a\nb\n"), ("a\n", 0, ""),
    ("\n\n\n", 1, "\n"),
  ]) func theLastLines(_ content: String, _ count: Int, _ expected: String) throws {
    let folder = try Folder(["log": content])
    let file = try #require(FileHandle(forReadingAtPath: "\(folder.path)/log"))
    try file.seek(toOffset: LogStream.start(ofLast: count, in: file))
    #expect(String(decoding: try file.readToEnd() ?? Data(), as: UTF8.self) == expected)
  }
}
