/// The agent's answers, as the admin API promises them.
enum Samples {
  static let status = """
    {"node":"n1","version":"1.2","started_at":"2026-11-24T20:00:00Z",
     "proxy":{"pid":41,"state":"running","restarts":1,
              "traffic":{"requests":1204,"retries":1,"local_replies":7}},
     "control":{"address":"10.200.0.1:15010","connected":true,"last_error":null,"since":"2026-11-24T20:00:01Z"},
     "snapshot":{"versions":{"type.googleapis.com/weft.mesh.v1.Workload":6,
                             "type.googleapis.com/weft.mesh.v1.Service":2},"restored":false,"rejected":[]},
     "pods":{"enrolled":3,"pending":1,"failed":0},"config":{"mutual_tls":"strict","trust_domain":"cluster.local"}}
    """

  static let brokenStatus = """
    {"node":"n1","version":"1.2","started_at":"2026-11-24T20:00:00Z",
     "proxy":{"pid":null,"state":"stopped","restarts":4},
     "control":{"address":"10.200.0.1:15010","connected":false,"last_error":"connection refused"},
     "snapshot":{"versions":{},"restored":true,
                 "rejected":[{"type":"type.googleapis.com/weft.mesh.v1.Service","name":"shop/a",
                              "reason":"no ports\\u001b[2J"}]},
     "pods":{"enrolled":0,"pending":0,"failed":2},"config":{"mutual_tls":"permissive","trust_domain":"td"}}
    """

  static let workloads = """
    {"workloads":[
      {"uid":"shop/z","namespace":"shop","name":"z","service_account":"z","node":"n2","addresses":["10.244.2.2"],
       "meshed":false,"ready":false,"local":false,"state":"unmeshed","reason":"","identity":""},
      {"uid":"shop/web-0","namespace":"shop","name":"web-0","service_account":"web","node":"n1",
       "addresses":["10.244.1.2","fd00:244:1::2"],"meshed":true,"ready":true,"local":true,"state":"enrolled",
       "reason":null,"identity":"spiffe://cluster.local/ns/shop/sa/web"}]}
    """

  static let services = """
    {"services":[
      {"namespace":"shop","name":"web","addresses":["10.96.0.7"],
       "ports":[{"port":80,"name":"http","transport":"tcp"},{"port":53,"name":"","transport":"udp"}],
       "endpoints":[{"workload":"shop/web-0","address":"10.244.1.2","ports":{"80":8080,"53":53},"ready":true,
                     "node":"n1"},
                    {"workload":"shop/web-1","address":"10.244.2.2","ports":{"80":8080},"ready":false,"node":"n2"}]},
      {"namespace":"shop","name":"db","addresses":[],"ports":[],"endpoints":[]}]}
    """

  static let connections = """
    {"total":1200,"connections":[
      {"id":7,"direction":"outbound","source":"shop/web-0","source_identity":"spiffe://td/ns/shop/sa/web",
       "destination":"shop/db-0","destination_identity":"spiffe://td/ns/shop/sa/db","service":"shop/db",
       "downstream_address":"10.244.1.2:40000","upstream_address":"10.244.2.2:5432","tls":true,"protocol":"hbone",
       "bytes_sent":1500,"bytes_received":999,"age_seconds":125.7,"state":"open"},
      {"id":"8","direction":"inbound","source":"","source_identity":null,"destination":"shop/web-0",
       "downstream_address":"192.0.2.1:5","tls":false,"protocol":"tcp","bytes_sent":0,"bytes_received":0,
       "age_seconds":3,"state":"closing"},
      {"direction":"outbound","source":"shop/web-0","destination":"10.96.0.7:80","service":"shop/web","tls":false,
       "protocol":"http/1.1","age_seconds":61,"state":"established"}]}
    """

  static let identities = """
    {"identities":[{"spiffe_id":"spiffe://td/ns/shop/sa/web","serial":"0a","not_before":"2026-11-24T20:00:00Z",
                    "not_after":"2026-11-25T20:00:00Z","renew_at":"2026-11-25T08:00:00Z","state":"valid","error":null}],
     "trust_bundle":[{"subject":"CN=Weft CA","not_after":"2036-11-24T20:00:00Z"}]}
    """

  static let bpf = """
    {"programs":[{"name":"weft_connect4","id":9,"type":"cgroup_sock_addr","run_count":12}],
     "links":[{"name":"connect4","id":3,"attach_type":"cgroup_inet4_connect","target":"/sys/fs/cgroup"}],
     "maps":[{"name":"weft_flows","id":4,"type":"lru_hash","entries":512,"max_entries":2048}]}
    """

  static let check = """
    {"checks":[{"name":"kernel","ok":true,"detail":"6.18.0","repair":""},
               {"name":"cgroup v2","ok":false,"detail":"not mounted","repair":"mount it"}]}
    """

  static let routes = """
    {"total":3,"routes":[
      {"kind":"HTTPRoute","namespace":"shop","name":"web","hostnames":[],"rule_count":2,
       "parents":[{"service":"shop/web","port":80,"role":"producer"},{"service":"other/web","role":"consumer"}],
       "rules":[{"name":"","matches":["= /a and header x = 1","GET /b"],"filters":["rewrite path to /c"],"settings":[],
                 "backends":[{"service":"shop/v1","port":80,"weight":90,"filters":[],"invalid":""},
                             {"service":"shop/v2","port":81,"weight":10,"filters":["CORS for *"],
                              "invalid":"no such Service"}],"backend_count":2},
                {"name":"","matches":[],"filters":[],"settings":["request 5s"],"backends":[],"backend_count":0}]},
      {"kind":"TLSRoute","namespace":"shop","name":"empty","hostnames":["a.example"],"rule_count":0,"parents":[],
       "rules":[]}]}
    """

  static let policies = """
    {"total":2,"policies":[
      {"namespace":"shop","name":"web","targets":["shop/web:80","HTTPRoute/shop/web"],"clients":["a/b"],
       "settings":[{"name":"retry","value":"2 times on 503"},{"name":"timeouts","value":"request 5s"}]},
      {"namespace":"shop","name":"z","targets":["shop/z"],"clients":[],"settings":[]}]}
    """

  static let endpoints = """
    {"truncated":false,"endpoints":[
      {"service":"shop/web","port":80,"address":"10.244.1.2:8080","workload":"shop/web-0","ready":true,
       "draining":false,"weight":1,"locality":"node","transport":"delivery","balancers":2,"ejected":1,
       "ejected_seconds":28.9,"panicking":0,"ejections":3,"requests":4,"connections":0,"latency_ms":1.5},
      {"service":"shop/web","port":80,"address":"10.244.2.2:8080","workload":"shop/web-1","ready":true,
       "draining":false,"weight":1,"locality":"other","transport":"tunnel","balancers":1,"ejected":1,
       "ejected_seconds":90,"panicking":1,"ejections":1,"requests":0,"connections":2},
      {"service":"shop/web","port":80,"address":"10.244.2.3:8080","workload":"shop/web-2","ready":true,
       "draining":true,"weight":0,"locality":"zone","transport":"plaintext","balancers":0,"ejected":0,
       "panicking":0,"ejections":0,"requests":0,"connections":0}]}
    """
}
