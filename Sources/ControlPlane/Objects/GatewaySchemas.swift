/// The maps of the Gateway API v1.4 (standard and experimental channel) and of `weft.dev/v1alpha1`.
extension Schemas {
  private static let object: Set<String> = ["apiVersion", "kind", "metadata", "spec"]

  static let route = Schema(object, ignored: ["status"])
  static let hostRouteSpec = Schema(["hostnames", "parentRefs", "rules"], ignored: ["useDefaultGateways"])
  static let streamRouteSpec = Schema(["parentRefs", "rules"], ignored: ["useDefaultGateways"])
  static let parentRef = Schema(["group", "kind", "name", "namespace", "port", "sectionName"])

  static let httpRule = Schema([
    "backendRefs", "filters", "matches", "name", "retry", "sessionPersistence", "timeouts",
  ])
  static let grpcRule = Schema(["backendRefs", "filters", "matches", "name", "sessionPersistence"])
  static let streamRule = Schema(["backendRefs", "name"])
  static let httpMatch = Schema(["headers", "method", "path", "queryParams"])
  static let pathMatch = Schema(["type", "value"])
  static let valueMatch = Schema(["name", "type", "value"])
  static let grpcMatch = Schema(["headers", "method"])
  static let grpcMethod = Schema(["method", "service", "type"])
  static let routeTimeouts = Schema(["backendRequest", "request"])
  static let routeRetry = Schema(["attempts", "backoff", "codes"])
  static let routeSession = Schema(["absoluteTimeout", "cookieConfig", "idleTimeout", "sessionName", "type"])
  static let cookieConfig = Schema(["lifetimeType"])

  static let filteredBackendRef = Schema(["filters", "group", "kind", "name", "namespace", "port", "weight"])
  static let backendRef = Schema(["group", "kind", "name", "namespace", "port", "weight"])
  static let objectRef = Schema(["group", "kind", "name", "namespace", "port"])

  static let filter = Schema([
    "cors", "extensionRef", "externalAuth", "requestHeaderModifier", "requestMirror", "requestRedirect",
    "responseHeaderModifier", "type", "urlRewrite",
  ])
  static let headerEdit = Schema(["add", "remove", "set"])
  static let headerField = Schema(["name", "value"])
  static let redirect = Schema(["hostname", "path", "port", "scheme", "statusCode"])
  static let rewrite = Schema(["hostname", "path"])
  static let pathModifier = Schema(["replaceFullPath", "replacePrefixMatch", "type"])
  static let mirror = Schema(["backendRef", "fraction", "percent"])
  static let fraction = Schema(["denominator", "numerator"])
  static let cors = Schema([
    "allowCredentials", "allowHeaders", "allowMethods", "allowOrigins", "exposeHeaders", "maxAge",
  ])

  static let referenceGrant = Schema(object)
  static let grantSpec = Schema(["from", "to"])
  static let grantFrom = Schema(["group", "kind", "namespace"])
  static let grantTo = Schema(["group", "kind", "name"])

  static let trafficPolicy = Schema(object, ignored: ["status"])
  static let trafficPolicySpec = Schema([
    "adaptiveConcurrency", "circuitBreaker", "clients", "faults", "headers", "hedging", "loadBalancer", "locality",
    "outlierDetection", "rateLimits", "retry", "retryBudget", "sessionPersistence", "targetRefs", "timeouts",
  ])
  static let targetRef = Schema(["group", "kind", "name", "port", "sectionName"])
  static let policyClient = Schema(["namespace", "serviceAccount"])
  static let loadBalancer = Schema(["algorithm", "hash", "slowStart"])
  static let hashSource = Schema(["cookie", "header", "sourceAddress"])
  static let hashCookie = Schema(["name", "ttl"])
  static let timeouts = Schema(["connect", "idle", "perTry", "request"])
  static let retry = Schema([
    "attempts", "backoff", "bufferLimit", "grpcStatuses", "maximumBackoff", "onConnectFailure", "onReset",
    "retriesNonIdempotent", "statuses",
  ])
  static let retryBudget = Schema(["interval", "minimumInterval", "minimumRate", "percent"])
  static let hedging = Schema(["minimumDelay", "percentile"])
  static let circuitBreaker = Schema(["maxConnections", "maxPending", "maxRequests", "maxRetries"])
  static let outlierDetection = Schema([
    "baseEjectionTime", "consecutiveErrors", "interval", "latencyPercent", "maximumEjectionPercent",
    "maximumEjectionTime", "minimumEndpoints", "minimumRequests", "successRateDeviation",
  ])
  static let rateLimit = Schema(["burst", "interval", "keys", "requests"])
  static let rateLimitKey = Schema(["header"])
  static let adaptiveConcurrency = Schema(["maximum", "minimum"])
  static let fault = Schema(["abort", "abortGRPC", "delay", "header", "percent"])
  static let locality = Schema(["isPreferred", "overprovisioning", "panicThreshold"])
  static let sessionPersistence = Schema(["idleTimeout", "isHeader", "lifetime", "name"])
  static let headerOptions = Schema(["forwardedFor", "reason", "requestID", "via"])
}
