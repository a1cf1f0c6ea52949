import Capture
import Foundation

/// The shapes of the admin API's answers (snake_case in JSON).
enum AdminDocument {
  struct Status: Encodable {
    /// The proxy's counters since its start.
    struct Traffic: Codable {
      let requests: UInt64
      let retries: UInt64
      /// Requests that the proxy answered itself.
      let localReplies: UInt64

      /// From the proxy's statistics.
      init?(_ statistics: Data) {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        guard let value = try? decoder.decode(Traffic.self, from: statistics) else { return nil }
        self = value
      }
    }

    struct Proxy: Encodable {
      let pid: Int32
      let state: String
      let restarts: Int
      /// Absent while the proxy doesn't answer.
      let traffic: Traffic?
    }

    struct Control: Encodable {
      let address: String
      let connected: Bool
      let lastError: String?
      let since: Date
    }

    struct Rejected: Encodable {
      let type: String
      let name: String
      let reason: String
    }

    struct Snapshot: Encodable {
      let versions: [String: Int]
      let restored: Bool
      let rejected: [Rejected]
    }

    struct Pods: Encodable {
      let enrolled: Int
      let pending: Int
      let failed: Int
      /// Those of this node that have a stub, sorted by name.
      let stubs: [Stub]
    }

    struct Stub: Encodable {
      /// Of its workload.
      let uid: String
      /// `handoff` or `tunnel`.
      let mode: String
      let reason: String
    }

    struct Config: Encodable {
      let mutualTls: String
      let trustDomain: String
    }

    let node: String
    let version: String
    let startedAt: Date
    let proxy: Proxy
    let control: Control
    let snapshot: Snapshot
    let pods: Pods
    let config: Config
  }

  struct Workloads: Encodable {
    struct Entry: Encodable {
      let uid: String
      let namespace: String
      let name: String
      let serviceAccount: String
      let node: String
      let addresses: [String]
      let meshed: Bool
      let ready: Bool
      let local: Bool
      let state: String
      let reason: String
      let identity: String
      /// Who carries it: its node's proxy (`node`), that with the stub's sockets (`handoff`), its stub alone (`tunnel`);
      /// empty: nobody.
      let mode: String
      /// How its pod was found on this node: `file` or `cgroup`; empty where it wasn't.
      let found: String
      let podUid: String
      /// Milliseconds from when its sandbox was found until its connections were captured; absent before.
      let enrolmentMs: Double?
    }

    let workloads: [Entry]
  }

  /// The pods of the cgroup tree, also those that nobody has named.
  struct CgroupPods: Encodable {
    struct Entry: Encodable {
      let podUid: String
      let cgroup: String
      /// Empty while the control plane hasn't told it.
      let workload: String
      /// `held` or `passes`: what the kernel does with its sockets before its network is captured.
      let verdict: String
      let reason: String
      /// It has a network namespace of its own, with addresses.
      let hasSandbox: Bool
      let addresses: [String]
    }

    let pods: [Entry]
  }

  struct Services: Encodable {
    struct Port: Encodable {
      let port: UInt16
      let name: String
      let transport: String
    }

    struct Endpoint: Encodable {
      let workload: String
      let address: String
      let ports: [String: UInt16]
      let ready: Bool
      let node: String
    }

    struct Entry: Encodable {
      let namespace: String
      let name: String
      let addresses: [String]
      let ports: [Port]
      let endpoints: [Endpoint]
    }

    let services: [Entry]
  }

  struct Identities: Encodable {
    struct Entry: Encodable {
      let spiffeId: String
      let serial: String
      let notBefore: Date?
      let notAfter: Date?
      let renewAt: Date?
      let state: String
      let error: String?
    }

    struct Root: Encodable {
      let subject: String
      let notAfter: Date
    }

    let identities: [Entry]
    let trustBundle: [Root]
  }

  struct Checks: Encodable {
    let checks: [CaptureCheck]
  }

  static func encode(_ document: some Encodable) -> Data? {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.dateEncodingStrategy = .iso8601
    encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
    return try? encoder.encode(document)
  }
}
