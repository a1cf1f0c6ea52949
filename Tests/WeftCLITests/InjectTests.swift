import Testing

@testable import CLI

@Suite struct InjectTests {
  private static let manifest = """
    ---
    apiVersion: v1
    kind: Service
    metadata:
      name: web
    spec:
      ports:
      - port: 80
    ---
    apiVersion: batch/v1
    kind: CronJob
    metadata:
      name: nightly
    spec:
      schedule: "0 3 * * *"
      jobTemplate:
        spec:
          template:
            metadata:
              labels:
                app: nightly
            spec:
              restartPolicy: Never
              containers:
              - name: app
                image: "job:1"
                command:
                - sh
                - -c
                - |
                  echo 'yes: "no"'
                  exit 0
                env:
                - name: MODE
                  value: '0644'
              volumes:
              - name: data
                secret:
                  secretName: s
                  defaultMode: 0400

    """

  private func run(_ text: String, _ arguments: String...) throws -> (text: String, report: [String]) {
    let command = try Inject.parse(["-"] + arguments)
    return try command.result(of: text)
  }

  @Test func onceIsAsGoodAsTwiceAndRemovingGivesBackTheText() throws {
    let once = try run(Self.manifest)
    #expect(once.report == ["cronjob/nightly: the stub is in it"])
    #expect(once.text.contains("weft.dev/injected: tunnel"))
    #expect(try run(once.text) == (once.text, ["cronjob/nightly: holds its stub already"]))
    #expect(try run(once.text, "--remove").text == Self.manifest)
    #expect(try run(Self.manifest, "--remove").text == Self.manifest)
  }

  @Test func listsAndJSONAreRead() throws {
    let list = #"{"kind":"List","items":[{"kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c"}]}}]}"#
    let once = try run(list, "--mode", "handoff", "--image", "registry/stub:7")
    #expect(once.report == ["pod/a: the stub is in it"])
    #expect(once.text.hasPrefix("{") && once.text.contains(#""image":"registry/stub:7""#))
    #expect(try run(once.text, "--remove").text == list + "\n")
  }

  @Test func podsThatOptOutAreLeft() throws {
    for label in ["weft.dev/mode: node", "weft.dev/mesh: disabled"] {
      let pod = "kind: Pod\nmetadata:\n  name: a\n  labels:\n    \(label)\nspec:\n  containers:\n  - name: c\n"
      let result = try run(pod)
      #expect(result.text == pod)
      #expect(result.report.first?.contains(label) == true)
    }
  }

  @Test func aPodThatCannotHaveOneStopsAll() throws {
    let pod = "kind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n  - name: weft-stub\n"
    let failure = #expect(throws: Failure.self) { try run(Self.manifest + "---\n" + pod) }
    #expect(failure?.status == .unhealthy)
    #expect(failure?.message.contains("pod/a: the pod has a container called weft-stub") == true)
    // Beside a stub that is no sidecar a Job would never end.
    #expect(throws: Failure.self) { try run(Self.manifest, "--native-sidecar", "false") }
  }

  @Test func whatIsNoManifestIsRefusedWithItsPlace() throws {
    for (text, reason) in [
      ("a: [", "no YAML"), ("a: &x {b: 1}\nc:\n  <<: *x\n", "line 3"), ("{a: 1, a: 2}", "no YAML"),
      (String(repeating: "- ", count: 200) + "a", "128"),
    ] {
      let failure = #expect(throws: Failure.self) { try run(text) }
      #expect(failure?.status == .usage)
      #expect(failure?.message.contains(reason) == true, "\(failure?.message ?? "")")
    }
    // Ten levels of ten aliases each.
    let bomb = (1...10).reduce("a0: &a0 [x]\n") { text, level in
      text + "a\(level): &a\(level) [" + Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ",") + "]\n"
    }
    #expect(throws: Failure.self) { try run(bomb) }
  }
}
