import ProxyCore

/// Answers that the proxy gives itself.
extension Exchange {
  /// Refuses what the connection's codec, or the proxy, takes for no request that could be routed: by the policy that
  /// holds where no route says otherwise. `head` is what is known of it, and may be empty.
  /// - Parameter reason: for the client too; nil: the flag's own.
  func refuse(_ status: Int, _ flag: ResponseFlag, because reason: String? = nil) {
    enter()
    reply(status, flag, because: reason)
  }

  /// Refuses the request, or says that it failed; once begun, a response is broken off instead.
  /// - Parameters:
  ///   - reason: nil: the flag's own.
  ///   - grpcStatus: to be told by that status alone, whatever was asked; nil: gRPC calls by the one of `status`.
  ///   - retryAfter: nanoseconds, told in whole seconds (RFC 9110 §10.2.3).
  func reply(
    _ status: Int, _ flag: ResponseFlag, because reason: String? = nil, grpcStatus: UInt8? = nil,
    retryAfter: NanoTime? = nil
  ) {
    guard isActive else { return }
    guard !responseBegan else { return breakOff(flag) }
    worker.statistics.localReplies += 1
    let reason = reason ?? flag.reason
    worker.log(.info, logLine("\(status)", flag, reason))
    responseHead.removeAll()
    responseHead.setStatus(status)
    if (plan?.policy ?? view?.policy)?.headers.reason == true {
      responseHead.append("weft-reason", "\(flag.rawValue): \(reason)")
    }
    if let retryAfter { responseHead.append("retry-after", String((retryAfter + 999_999_999) / 1_000_000_000)) }
    // The answer to HEAD has no content, and what can't be read may have been one.
    replyPrepared(text: head.method.isEmpty ? "" : reason, grpcStatus: grpcStatus)
  }

  /// To an OPTIONS or TRACE that may go no further (RFC 9110 §7.6.2). A TRACE isn't echoed: its client would see what was
  /// added on the way, and scripts the credentials that are kept from them.
  func replyAsLast() {
    let isOptions = head.equals(head.method, "OPTIONS")
    worker.statistics.localReplies += 1
    responseHead.removeAll()
    responseHead.setStatus(isOptions ? 200 : 501)
    replyPrepared(text: isOptions ? "" : "the proxy answers no TRACE")
  }

  /// - Parameter what: the status, or what became of the response.
  func logLine(_ what: String, _ flag: ResponseFlag, _ reason: String) -> String {
    let upstream = tried.last.map { " at \($0)" } ?? ""
    return "\(client.workload) to \(client.service):\(client.port)\(upstream): \(what) \(flag.rawValue): \(reason)"
  }

  /// Answers with `responseHead`.
  func replyPrepared(text: String = "", grpcStatus: UInt8? = nil) {
    guard isActive else { return }
    var body = text
    if grpcStatus != nil || head.isGRPC, !text.isEmpty {
      // A gRPC client looks at the trailers alone (gRPC over HTTP/2, "Trailers-Only").
      responseHead.append("content-type", "application/grpc")
      responseHead.append("grpc-status", String(grpcStatus ?? GRPCStatus.code(http: responseHead.status)))
      responseHead.append("grpc-message", text)
      responseHead.setStatus(200)
      body = ""
    } else if !text.isEmpty {
      responseHead.append("content-type", "text/plain")
    }
    plan?.rule?.filters.cors?.apply(toResponse: &responseHead, of: head)
    worker.stampDate(&responseHead)
    var framing = HTTP1Reader.Framing.length(UInt64(body.utf8.count))
    if head.equals(head.method, "HEAD") {
      responseHead.append("content-length", String(body.utf8.count))
      framing = .none
    } else if responseHead.status == 204 || body.isEmpty && downstream.isHTTP2 {
      framing = .none
    }
    let hasBody = framing != .none && !body.isEmpty
    finish()
    downstream.respond(responseHead, framing: framing)
    if hasBody { body.withUTF8 { downstream.sendBody(UnsafeRawBufferPointer($0)) } }
    downstream.finishResponse(trailers: nil)
  }

  /// The filters of the rule and its backend, and what the balancer sets.
  func finishHead(_ response: inout HTTPHead, _ attempt: Attempt) {
    if let plan, let rule = plan.rule {
      rule.filters.applyToResponse(&response)
      if let backend { rule.backendFilters[backend].applyToResponse(&response) }
      rule.filters.cors?.apply(toResponse: &response, of: head)
    }
    setSessionCookies(&response, attempt)
    if plan?.policy.headers.via == true, let upstream = attempt.upstream {
      response.append("via", upstream.version.via)
    }
    worker.stampDate(&response)
  }
}

/// gRPC's mapping of HTTP statuses (grpc/doc/http-grpc-status-mapping.md). But for 500, which the proxy answers where a
/// route's backend is invalid, the Gateway API's GRPCRoute demands UNAVAILABLE.
enum GRPCStatus {
  static func code(http status: Int) -> UInt8 {
    switch status {
    case 400: 13
    case 401: 16
    case 403: 7
    case 404: 12
    case 429, 500, 502, 503, 504: 14
    default: 2
    }
  }
}

extension HTTPHead {
  /// A gRPC status that speaks against the server, not the call: DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, INTERNAL,
  /// UNAVAILABLE, DATA_LOSS.
  var saysGRPCFailure: Bool {
    guard let status = first("grpc-status") else { return false }
    return ["4", "8", "13", "14", "15"].contains { equals(status, $0) }
  }

  var isGRPC: Bool {
    guard let contentType = first("content-type") else { return false }
    return withBytes(of: contentType) { $0.starts(with: "application/grpc".utf8) }
  }
}
