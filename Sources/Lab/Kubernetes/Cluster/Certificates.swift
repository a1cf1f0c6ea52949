import Foundation

/// The cluster's certificates, made by openssl: ECDSA P-256, under one CA that lives as long as the lab.
struct Certificates {
  let layout: Layout

  private static let days = "3650"
  static let authority = "ca"

  /// Keys are 0600, in a folder that is 0700.
  func make(nodes: [LabState.Node]) throws {
    try Files.makeFolder(layout.cluster, mode: 0o700)
    try Tool.run(
      "openssl",
      request(Self.authority, subject: "/CN=weft-lab") + [
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
      ])
    try Tool.run("openssl", ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", layout.clusterKey("sa")])
    try Tool.run("openssl", ["ec", "-in", layout.clusterKey("sa"), "-pubout", "-out", layout.clusterCertificate("sa")])
    let service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    let names = (service + ["kubernetes.default.svc.\(ClusterPlan.domain)", "localhost"]).map { "DNS:\($0)" }
    let addresses = [AddressPlan.linkV4, ClusterPlan.apiService, "127.0.0.1"].map { "IP:\($0)" }
    var tools = [
      try leaf("apiserver", subject: "/CN=kube-apiserver", names: names + addresses),
      try leaf("apiserver-kubelet", subject: "/O=system:masters/CN=kube-apiserver-kubelet-client"),
      try leaf("admin", subject: "/O=system:masters/CN=weft-lab-admin"),
      try leaf("kube-controller-manager", subject: "/CN=system:kube-controller-manager"),
      try leaf("kube-scheduler", subject: "/CN=system:kube-scheduler"),
    ]
    for node in nodes {
      tools.append(
        try leaf(
          "node-\(node.name)", subject: "/O=system:nodes/CN=system:node:\(node.name)",
          names: ["DNS:\(node.name)", "IP:\(node.addresses[0])"]))
    }
    for tool in tools { try tool.finish() }
    for program in ["kube-controller-manager", "kube-scheduler"] {
      try writeKubeconfig(layout.kubeconfig(program), user: program)
    }
    try writeKubeconfig(layout.kubeconfig, user: "admin")
  }

  private func request(_ name: String, subject: String) -> [String] {
    [
      "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", Self.days,
      "-subj", subject, "-keyout", layout.clusterKey(name), "-out", layout.clusterCertificate(name),
    ]
  }

  private func leaf(_ name: String, subject: String, names: [String] = []) throws -> Tool {
    var arguments = request(name, subject: subject)
    arguments += ["-CA", layout.clusterCertificate(Self.authority), "-CAkey", layout.clusterKey(Self.authority)]
    arguments += ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth,clientAuth"]
    if !names.isEmpty { arguments += ["-addext", "subjectAltName=\(names.joined(separator: ","))"] }
    return try Tool.start("openssl", arguments)
  }

  /// JSON, which is YAML too; everything is in it, so that the file may be copied.
  private func writeKubeconfig(_ path: String, user: String) throws {
    func data(_ path: String) throws -> String {
      guard let text = Files.text(path) else { throw LabError("\(path): can't be read") }
      return Data(text.utf8).base64EncodedString()
    }
    let content: [String: Any] = [
      "apiVersion": "v1", "kind": "Config", "current-context": "weft-lab",
      "clusters": [
        [
          "name": "weft-lab",
          "cluster": [
            "server": ClusterPlan.url,
            "certificate-authority-data": try data(layout.clusterCertificate(Self.authority)),
          ],
        ]
      ],
      "users": [
        [
          "name": user,
          "user": [
            "client-certificate-data": try data(layout.clusterCertificate(user)),
            "client-key-data": try data(layout.clusterKey(user)),
          ],
        ]
      ],
      "contexts": [["name": "weft-lab", "context": ["cluster": "weft-lab", "user": user]]],
    ]
    let bytes = try JSONSerialization.data(
      withJSONObject: content, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
    try Files.writeAtomically([UInt8](bytes), to: path, mode: 0o600)
  }
}
