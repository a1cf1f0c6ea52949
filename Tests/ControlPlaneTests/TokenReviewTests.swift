import Discovery
import KubernetesAPI
import Testing

@testable import ControlPlane

@Suite struct TokenReviewTests {
  private let extra: JSONNode = [
    "authentication.kubernetes.io/pod-name": ["agent-x"], "authentication.kubernetes.io/pod-uid": ["u1"],
  ]

  private func answer(
    authenticated: JSONNode = true, audiences: JSONNode = ["weft"],
    user: JSONNode = "system:serviceaccount:weft-system:weft-agent", extra: JSONNode? = nil
  ) -> JSONNode {
    [
      "status": [
        "authenticated": authenticated, "audiences": audiences,
        "user": ["username": user, "extra": extra ?? self.extra],
      ]
    ]
  }

  private func failure(_ answer: JSONNode) -> AttestationError? {
    do throws(AttestationError) {
      _ = try TokenReview.proof(in: answer, audience: "weft")
      return nil
    } catch {
      return error
    }
  }

  @Test func anAnswerProvesAPodOfAnAccount() throws {
    let proof = try TokenReview.proof(in: answer(), audience: "weft")
    #expect(
      proof
        == .init(
          namespace: "weft-system", serviceAccount: "weft-agent", pod: "agent-x", podUID: "u1", node: ""))
  }

  @Test func anythingElseProvesNothing() {
    #expect(failure(answer(authenticated: false))?.kind == .unauthenticated)
    #expect(failure(answer(authenticated: "true"))?.kind == .unauthenticated)
    #expect(failure(answer(audiences: []))?.kind == .unauthenticated)
    #expect(failure(answer(audiences: ["weft2", "https://kubernetes.default.svc"]))?.kind == .unauthenticated)
    #expect(failure(answer(user: "admin"))?.kind == .denied)
    #expect(failure(answer(user: "system:serviceaccount:weft-agent"))?.kind == .denied)
    #expect(failure(answer(user: "system:serviceaccount:a:b:c"))?.kind == .denied)
    #expect(failure(answer(extra: [:]))?.kind == .unauthenticated)
    #expect(
      failure(answer(extra: ["authentication.kubernetes.io/pod-name": ["a", "b"]]))?.kind == .unauthenticated)
    // A proxy's page, or another kind's object: nothing is known of the token.
    #expect(failure([:])?.kind == .unavailable)
    #expect(failure("x")?.kind == .unavailable)
    #expect(
      failure(["status": ["error": "the token has expired"]])?.description.hasSuffix(": the token has expired") == true)
  }

  @Test func thePodDecidesTheNode() throws {
    var proof = try TokenReview.proof(in: answer(), audience: "weft")
    func pod(_ uid: String = "u1", spec: JSONNode? = nil, phase: JSONNode = "Running", deleted: Bool = false)
      -> JSONNode
    {
      var metadata: [JSONNode.Member] = [.init(key: "uid", value: .text(uid))]
      if deleted { metadata.append(.init(key: "deletionTimestamp", value: "2026-11-26T00:00:00Z")) }
      return [
        "metadata": .object(metadata), "status": ["phase": phase],
        "spec": spec ?? ["nodeName": "n1", "serviceAccountName": "weft-agent"],
      ]
    }
    func kind(_ pod: JSONNode?) -> AttestationError.Kind? {
      do throws(AttestationError) {
        return try TokenReview.node(of: proof, pod: pod) == "n1" ? nil : .denied
      } catch {
        return error.kind
      }
    }
    #expect(kind(pod()) == nil)
    #expect(kind(nil) == .unauthenticated)
    #expect(kind(pod("u2")) == .unauthenticated)
    #expect(kind(pod(deleted: true)) == .unauthenticated)
    #expect(kind(pod(phase: "Failed")) == .unauthenticated)
    #expect(kind(pod(spec: ["serviceAccountName": "weft-agent"])) == .unavailable)
    #expect(kind(pod(spec: ["nodeName": "n1", "serviceAccountName": "other"])) == .denied)
    proof.node = "n1"
    #expect(kind(pod()) == nil)
    proof.node = "n2"
    #expect(kind(pod()) == .denied)
  }

  @Test func whatIsNoTokenIsNotAskedAbout() {
    #expect(TokenReview.isToken("eyJhbGciOi.eyJhdWQ.c2ln_-"))
    for text in [
      "", "short.a.b", "aaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaa.bbbbbbbbb..", "aaaaaaaaaa.bbbb bbbb.cc",
      "a.b.c.d.e.f.g.h.i.j",
    ] {
      #expect(!TokenReview.isToken(text))
    }
    #expect(!TokenReview.isToken("a.b." + String(repeating: "c", count: TokenReview.maximumTokenBytes)))
  }

  @Test func reviewsAreRememberedForAWhileAndHaveARate() throws {
    var limits = ReviewLimits()
    let proof = try TokenReview.proof(in: answer(), audience: "weft")
    let digest = ReviewLimits.digest("a.b.c")
    #expect(limits.known(digest, now: 0) == nil)
    limits.reviewed(digest, proof, now: 0)
    #expect(limits.known(digest, now: 29.9) == proof)
    #expect(limits.known(digest, now: 30) == nil)
    #expect(limits.known(ReviewLimits.digest("a.b.d"), now: 1) == nil)
    for index in 0..<ReviewLimits.maximumEntries + 10 {
      limits.reviewed(ReviewLimits.digest("\(index)"), proof, now: 31 + Double(index) / 1e6)
    }
    // The oldest make room.
    #expect(limits.known(ReviewLimits.digest("0"), now: 32) == nil)
    #expect(limits.known(ReviewLimits.digest("\(ReviewLimits.maximumEntries)"), now: 32) == proof)
    let admitted = (0..<1000).count { _ in limits.admit(now: 40) }
    #expect(admitted == Int(ReviewLimits.burst))
    let later = (0..<3).map { _ in limits.admit(now: 40.025) }
    #expect(later == [true, true, false])
  }
}
