"""Policies of weft.dev: one that uses every field, and what must not be in it."""
import copy
import yaml

FULL = yaml.safe_load("""
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: full, namespace: shop}
spec:
  targetRefs:
  # Not "": kube-apiserver 1.20 as Go 1.19 builds it takes that for null.
  - {group: core, kind: Service, name: web, port: 80}
  - {kind: Service, name: web, sectionName: http}
  - {group: gateway.networking.k8s.io, kind: HTTPRoute, name: web.v1}
  clients: [{namespace: street}, {serviceAccount: till}, {namespace: shop, serviceAccount: cart}]
  loadBalancer: {algorithm: ringHash, slowStart: 30s, hash: {cookie: {name: session, ttl: 24h}}}
  locality: {isPreferred: true, panicThreshold: 50%, overprovisioning: 140}
  sessionPersistence: {name: s, isHeader: false, lifetime: 24h, idleTimeout: 1h}
  timeouts: {request: 1.5s, perTry: 250ms, idle: 0s, connect: 1m30s}
  retry: {attempts: 3, statuses: [502, 503], grpcStatuses: [14], onConnectFailure: true, onReset: true,
    retriesNonIdempotent: false, backoff: 25ms, maximumBackoff: 250ms, bufferLimit: 65536}
  retryBudget: {percent: 20, interval: 10s, minimumRate: 10, minimumInterval: 1s}
  hedging: {percentile: 95, minimumDelay: 5ms}
  circuitBreaker: {maxConnections: 100, maxPending: 0, maxRequests: 1000, maxRetries: 3}
  outlierDetection: {consecutiveErrors: 5, interval: 10s, baseEjectionTime: 30s, maximumEjectionTime: 5m,
    maximumEjectionPercent: "10%", successRateDeviation: 1900, minimumRequests: 100, minimumEndpoints: 5, latencyPercent: 300}
  adaptiveConcurrency: {minimum: 4, maximum: 1000}
  rateLimits: [{requests: 100, interval: 1s, burst: 200, keys: [clientIdentity, route, {header: x-user}]}]
  faults:
  - {delay: 100ms, percent: "12.5%", header: {name: x-test, value: "1", type: Exact}}
  - {abort: 503, percent: 5}
  - {abortGRPC: 14}
  headers: {forwardedFor: true, via: false, requestID: true, reason: false}
""")
STRICT = {"apiVersion": "weft.dev/v1alpha1", "kind": "PeerAuthentication", "metadata": {"name": "default", "namespace": "weft-system"},
    "spec": {"mtls": {"mode": "STRICT"}}}

# A change of the full policy that has to be refused: path, value.
BAD = [
    ("targetRefs", []), ("targetRefs", [{"kind": "Service", "name": f"s{i}"} for i in range(17)]),
    ("targetRefs.0.kind", "Gateway"), ("targetRefs.0.name", "Bad_Name"), ("targetRefs.0.name", None), ("targetRefs.0.port", 0),
    ("targetRefs.0.port", 65536), ("targetRefs.0.sectionName", "http"), ("targetRefs.2.port", 80), ("targetRefs.2.group", "apps"),
    ("clients.0", {}), ("clients.0.namespace", "A"), ("loadBalancer.algorithm", "fastest"), ("loadBalancer.algorithm", "random"),
    ("loadBalancer.hash", None), ("loadBalancer.hash.header", "x"), ("loadBalancer.slowStart", "1d"), ("loadBalancer.slowStart", "-1s"),
    ("locality.panicThreshold", 101), ("locality.panicThreshold", "101%"), ("faults.0.percent", "101%"), ("faults.0.percent", "100.01%"), ("timeouts.request", "0.5ms"), ("timeouts.request", "1193h1ms"), ("locality.overprovisioning", 99),
    ("sessionPersistence.name", None), ("sessionPersistence.lifetime", "9000h"), ("timeouts.request", "soon"),
    ("timeouts.request", 5), ("timeouts.request", "1194h"), ("retry.attempts", 21), ("retry.statuses", [200]),
    ("retry.grpcStatuses", [0]), ("retry.maximumBackoff", "1ms"), ("retry.bufferLimit", 1048577), ("retryBudget.percent", "x"),
    ("retryBudget.interval", "0s"), ("hedging.percentile", 100), ("circuitBreaker.maxRequests", 0),
    ("outlierDetection.maximumEjectionTime", "1s"), ("outlierDetection.consecutiveErrors", 100001),
    ("adaptiveConcurrency.minimum", 2000), ("rateLimits.0.requests", None), ("rateLimits.0.requests", 0),
    ("rateLimits.0.keys", ["user"]), ("rateLimits.0.keys", [{"header": "a b"}]), ("faults.0.abort", 500), ("faults.1.abort", 600),
    ("faults.2", {}), ("faults.0.percent", "12.345%"), ("faults.0.header.type", "Glob"), ("headers.via", "yes"),
]

# What lies at the bounds and has to be taken, by the rules and by weft-control.
GOOD = [
    ("timeouts.request", "1ms"), ("timeouts.request", "0s"), ("timeouts.request", "0h"), ("timeouts.request", "1193h"), ("timeouts.request", ".5s"),
    ("timeouts.request", "5.s"), ("timeouts.request", "1h30m5.25s"), ("retry.maximumBackoff", "25ms"), ("sessionPersistence.lifetime", "1ms"),
    ("sessionPersistence.lifetime", "8784h"), ("outlierDetection.maximumEjectionTime", "30s"), ("locality.panicThreshold", "100%"),
    ("locality.panicThreshold", "050"), ("locality.panicThreshold", 0), ("faults.0.percent", "1.1%"), ("faults.0.percent", "0.07"),
    ("faults.0.percent", "100.00%"), ("faults.0.percent", 99),
]


def at(value, path):
    for key in path:
        value = value[int(key) if isinstance(value, list) else key]
    return value


def changed(policy, path, value):
    policy = copy.deepcopy(policy)
    *way, last = path.split(".")
    parent = at(policy["spec"], way)
    if value is None:
        del parent[last]
    else:
        parent[int(last) if isinstance(parent, list) else last] = value
    return policy


# Whole policies that have to be refused.
WORSE = [
    {**STRICT, "metadata": {"name": "other", "namespace": "shop"}},
    {**STRICT, "spec": {"mtls": {"mode": "STRICT"}, "selector": {"matchLabels": {"app": "web"}}}},
    {**STRICT, "spec": {"mtls": {"mode": "STRICT"}, "portLevelMtls": {"8080": {"mode": "DISABLE"}}}},
    # Of a route that isn't HTTP most settings mean nothing.
    changed(FULL, "targetRefs", [{"group": "gateway.networking.k8s.io", "kind": "TCPRoute", "name": "db"}]),
]
