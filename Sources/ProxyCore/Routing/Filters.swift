import MeshModel

/// The filters of a rule or a backend, ready to be applied. In which order: CORS, the redirect or the rewrite, the
/// request's headers, mirrors (which get the request as it is then); the response's headers last.
///
/// Behind one reference: most rules have none, and each request asks.
public final class FilterChain: Sendable {
  public let isEmpty: Bool
  public let cors: CORSFilter?
  public let redirect: RedirectFilter?
  public let rewrite: RewriteFilter?
  public let mirrors: [MirrorFilter]
  public let requestHeaders: [HeaderFilter]
  public let responseHeaders: [HeaderFilter]
  /// A filter that can't be applied mustn't be skipped (Gateway API): why all requests are answered by 500. Empty: all is
  /// well.
  public let refusal: String

  init(_ filters: [RouteFilter]) {
    var cors: CORSFilter?
    var redirect: RedirectFilter?
    var rewrite: RewriteFilter?
    var mirrors: [MirrorFilter] = []
    var requestHeaders: [HeaderFilter] = []
    var responseHeaders: [HeaderFilter] = []
    var refusal = ""
    for filter in filters {
      do throws(FilterError) {
        switch filter {
        case .requestHeaders(let edit): requestHeaders.append(try HeaderFilter(edit))
        case .responseHeaders(let edit): responseHeaders.append(try HeaderFilter(edit))
        case .redirect(let value): redirect = try RedirectFilter(value)
        case .rewrite(let value): rewrite = try RewriteFilter(value)
        case .mirror(let mirror): mirrors.append(MirrorFilter(mirror))
        case .cors(let value): cors = try CORSFilter(value)
        }
      } catch {
        refusal = error.description
      }
    }
    if redirect != nil, rewrite != nil { refusal = "a redirect and a rewrite exclude each other" }
    isEmpty = filters.isEmpty
    self.cors = cors
    self.redirect = redirect
    self.rewrite = rewrite
    self.mirrors = mirrors
    self.requestHeaders = requestHeaders
    self.responseHeaders = responseHeaders
    self.refusal = refusal
  }

  /// The rewrite and the headers.
  public func applyToRequest(_ head: inout HTTPHead, matchedPrefix: Int) {
    rewrite?.apply(to: &head, matchedPrefix: matchedPrefix)
    for filter in requestHeaders { filter.apply(toRequest: &head) }
  }

  public func applyToResponse(_ head: inout HTTPHead) {
    for filter in responseHeaders { filter.apply(toResponse: &head) }
  }
}

/// Why a filter can't be applied, as a sentence.
public struct FilterError: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String
}

/// Which requests are copied.
public struct MirrorFilter: Sendable {
  public let mirror: Mirror

  init(_ mirror: Mirror) { self.mirror = mirror }

  /// - Parameter draw: evenly distributed over all of its values.
  public func takes(draw: UInt64) -> Bool {
    mirror.invalid.isEmpty
      && draw.multipliedFullWidth(by: UInt64(mirror.denominator)).high < UInt64(mirror.numerator)
      && mirror.denominator > 0
  }
}
