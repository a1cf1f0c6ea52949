import Foundation
import Injection
import KubernetesAPI
import Testing

@testable import ControlPlane

@Suite struct WebhookTests {
  private func review(
    _ pod: JSONNode = ["metadata": ["labels": ["weft.dev/mode": "stub"]], "spec": ["containers": [["name": "a"]]]],
    version: String = "v1", namespace: String = "shop", operation: String = "CREATE", kind: String = "Pod"
  ) -> [UInt8] {
    let review: JSONNode = [
      "apiVersion": .text("admission.k8s.io/\(version)"), "kind": "AdmissionReview",
      "request": [
        "uid": "u1", "kind": ["group": "", "version": "v1", "kind": .text(kind)], "namespace": .text(namespace),
        "operation": .text(operation), "object": pod,
      ],
    ]
    return review.bytes
  }

  private func judge(
    _ bytes: [UInt8], account: JSONNode? = nil, namespace: JSONNode? = nil
  ) async throws -> AdmissionReview.Answer {
    let admission = PodAdmission(settings: InjectionSettings()) { (resource, _, _) throws(KubernetesError) in
      resource.plural == "namespaces" ? namespace : account
    }
    return try await admission.judge(AdmissionReview.read(bytes))
  }

  @Test(arguments: ["v1", "v1beta1"]) func theAnswerIsOfTheQuestionsVersion(version: String) async throws {
    let request = try AdmissionReview.read(review(version: version))
    let answer = AdmissionReview.answer(request, try await judge(review(version: version)))
    #expect(answer["apiVersion"]?.text == "admission.k8s.io/\(version)")
    #expect(answer["response"]?["uid"] == "u1")
    #expect(answer["response"]?["allowed"] == true)
    #expect(answer["response"]?["patchType"] == "JSONPatch")
    let patch = try #require(answer["response"]?["patch"]?.text.flatMap { Data(base64Encoded: $0) })
    let steps = try JSONReader.read(Array(patch)).elements
    #expect(steps.contains { $0["path"] == "/spec/initContainers" })
  }

  @Test func aRefusalSaysWhy() async throws {
    let pod: JSONNode = [
      "metadata": ["labels": ["weft.dev/mode": "stub"]], "spec": ["containers": [["name": "weft-stub"]]],
    ]
    let answer = AdmissionReview.answer(try AdmissionReview.read(review(pod)), try await judge(review(pod)))
    #expect(answer["response"]?["allowed"] == false)
    #expect(answer["response"]?["status"]?["message"]?.text?.contains("called weft-stub") == true)
    #expect(answer["response"]?["patch"] == nil)
  }

  @Test func theClustersOwnPodsAreNeverTouched() async throws {
    for namespace in ["kube-system", "weft-system", "kube-public", "kube-node-lease"] {
      #expect(try await judge(review(namespace: namespace)) == AdmissionReview.Answer())
    }
  }

  @Test func onlyNewPodsAreJudged() async throws {
    #expect(try await judge(review(operation: "UPDATE")) == AdmissionReview.Answer())
    #expect(try await judge(review(kind: "Service")) == AdmissionReview.Answer())
  }

  @Test func labelsOfTheAccountAndTheNamespaceCount() async throws {
    let plain: JSONNode = ["metadata": [:], "spec": ["containers": [["name": "a"]]]]
    let stub: JSONNode = ["labels": ["weft.dev/mode": "stub"]]
    #expect(try await judge(review(plain)) == AdmissionReview.Answer())
    #expect(try await !judge(review(plain), account: stub).steps.isEmpty)
    #expect(try await !judge(review(plain), namespace: stub).steps.isEmpty)
    let node: JSONNode = ["labels": ["weft.dev/mode": "node"]]
    #expect(try await judge(review(plain), account: node, namespace: stub) == AdmissionReview.Answer())
  }

  @Test func aStricterPodSecurityStandardIsTold() async throws {
    let namespace: JSONNode = ["labels": ["pod-security.kubernetes.io/enforce": "baseline"]]
    #expect(try await judge(review(), namespace: namespace).warnings.contains { $0.contains("baseline") })
  }

  @Test func aFieldThatStandsTwiceIsRefused() async throws {
    let text = String(decoding: review(), as: UTF8.self).replacing(
      #""containers":[{"name":"a"}]"#, with: #""containers":[{"name":"a"}],"hostNetwork":false,"hostNetwork":true"#)
    #expect(try await judge(Array(text.utf8)).refusal?.contains("hostNetwork") == true)
  }

  static let bad: [String] = [
    "", "[]", "{", #"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v2","request":{"uid":"x"}}"#,
    #"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}"#,
    #"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":""}}"#,
    String(repeating: "[", count: 100_000),
  ]

  @Test(arguments: bad) func whatIsNoReviewIsRefused(text: String) {
    #expect(throws: ControlPlaneError.self) { try AdmissionReview.read(Array(text.utf8)) }
  }

  @Test func warningsAreShortEnoughForTheServer() throws {
    let request = try AdmissionReview.read(review())
    let answer = AdmissionReview.answer(request, .init(warnings: [String(repeating: "x", count: 1000)]))
    #expect(answer["response"]?["warnings"]?.elements.first?.text?.count == AdmissionReview.maximumWarning)
  }

  @Test func theConfigurationIsWrittenOnlyWhereItsCADiffers() {
    let bundle = Data("PEM".utf8).base64EncodedString()
    let hook = { (name: String, ca: String) -> JSONNode in
      ["name": .text(name), "clientConfig": ["caBundle": .text(ca)]]
    }
    let other: JSONNode = ["webhooks": [hook("a", "x"), ["name": "b", "clientConfig": [:]]]]
    #expect(Webhook.patch(of: other, pem: "PEM")?["webhooks"] == [hook("a", bundle), hook("b", bundle)])
    #expect(Webhook.patch(of: ["webhooks": [hook("a", bundle)]], pem: "PEM") == nil)
    #expect(Webhook.patch(of: [:], pem: "PEM") == nil)
  }

  @Test func theServersVersionSaysWhetherItKnowsSidecars() {
    #expect(Webhook.hasNativeSidecars(["major": "1", "minor": "20"]) == false)
    #expect(Webhook.hasNativeSidecars(["major": "1", "minor": "29+"]) == true)
    #expect(Webhook.hasNativeSidecars(["major": "2", "minor": "0"]) == true)
    #expect(Webhook.hasNativeSidecars(["major": "", "minor": "x"]) == nil)
  }
}
