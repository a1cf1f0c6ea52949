// swift-tools-version: 6.1
import PackageDescription

// Rooms and their direction of imports: DESIGN §8. MeshModel <- ProxyCore <- ProxyRuntime <- weft-proxy;
// the control plane and the agent never import the proxy.

extension Target.Dependency {
  static func nio(_ product: String) -> Self { .product(name: product, package: "swift-nio") }
  static let argumentParser = Self.product(name: "ArgumentParser", package: "swift-argument-parser")
  static let logging = Self.product(name: "Logging", package: "swift-log")
  static let protobuf = Self.product(name: "SwiftProtobuf", package: "swift-protobuf")
  static let yams = Self.product(name: "Yams", package: "Yams")
  static let x509 = Self.product(name: "X509", package: "swift-certificates")
  static let crypto = Self.product(name: "Crypto", package: "swift-crypto")
  static let asn1 = Self.product(name: "SwiftASN1", package: "swift-asn1")
  static let hashTrees = Self.product(name: "HashTreeCollections", package: "swift-collections")
  static let deques = Self.product(name: "DequeModule", package: "swift-collections")
  static let hpack = Self.product(name: "NIOHPACK", package: "swift-nio-http2")
}

let package = Package(
  name: "weft",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "weft", targets: ["weft"]),
    .executable(name: "weft-agent", targets: ["weft-agent"]),
    .executable(name: "weft-proxy", targets: ["weft-proxy"]),
    .executable(name: "weft-control", targets: ["weft-control"]),
    .executable(name: "weft-lab", targets: ["weft-lab"]),
    .executable(name: "weft-stub", targets: ["weft-stub"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
    .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
    .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
    .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.3"),
    .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.2"),
    .package(url: "https://github.com/grpc/grpc-swift-protobuf", from: "2.4.1"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
  ],
  targets: [
    // C shims: what Swift can't call directly.
    .target(name: "CLinux"),
    .target(name: "CLibbpf", linkerSettings: [.linkedLibrary("bpf"), .linkedLibrary("elf"), .linkedLibrary("z")]),
    .target(name: "CTLS", dependencies: [.product(name: "NIOSSL", package: "swift-nio-ssl")]),

    // Of the stub: the archives themselves, so that its image needs no shared library of theirs.
    .target(
      name: "CStub",
      linkerSettings: [.linkedLibrary(":libnghttp2.a"), .linkedLibrary(":libssl.a"), .linkedLibrary(":libcrypto.a")]),

    // Values and decisions: no I/O.
    .target(name: "MeshModel"),
    .target(
      name: "ProxyCore",
      dependencies: ["MeshModel", .hpack, .hashTrees, .deques, .nio("NIOCore")]),

    // The data plane.
    .target(
      name: "ProxyRuntime",
      dependencies: ["ProxyCore", "DiscoveryAPI", "CLinux", "CTLS", .deques]),

    .target(name: "Observability", dependencies: [.logging]),

    // The control plane and what carries it.
    .target(name: "Identity", dependencies: ["MeshModel", .x509, .crypto, .asn1]),
    .target(name: "DiscoveryAPI", dependencies: ["MeshModel", .protobuf]),
    .target(
      name: "Discovery",
      dependencies: [
        "DiscoveryAPI", "Identity", "MeshModel", .logging, .deques, .crypto, .protobuf, .nio("NIOCore"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "NIOCertificateReloading", package: "swift-nio-extras"),
        .product(name: "GRPCCore", package: "grpc-swift-2"),
        .product(name: "GRPCNIOTransportHTTP2Posix", package: "grpc-swift-nio-transport"),
        .product(name: "GRPCProtobuf", package: "grpc-swift-protobuf"),
      ]),
    .target(
      name: "KubernetesAPI",
      dependencies: [
        .yams, .logging, .nio("NIOCore"), .nio("NIOPosix"), .nio("NIOHTTP1"), .nio("NIOWebSocket"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
      ]),
    // The stub put into Pods, by the webhook and by the CLI.
    .target(name: "Injection", dependencies: ["KubernetesAPI", "MeshModel"]),
    .target(
      name: "ControlPlane",
      dependencies: [
        "MeshModel", "Discovery", "DiscoveryAPI", "Identity", "Injection", "KubernetesAPI", "CLinux", .yams, .logging,
        .crypto, .nio("NIOCore"), .nio("NIOPosix"), .nio("NIOHTTP1"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
      ]),

    // The node.
    .target(name: "PodNetworking", dependencies: ["MeshModel"]),
    .target(name: "Capture", dependencies: ["MeshModel", "PodNetworking", "CLibbpf", "CLinux"]),
    .target(
      name: "AgentCore",
      dependencies: [
        "Capture", "Discovery", "DiscoveryAPI", "Identity", "MeshModel", "PodNetworking", "CLinux", .logging,
        .nio("NIOCore"), .nio("NIOPosix"), .nio("NIOHTTP1"),
      ]),
    .target(
      name: "Lab",
      dependencies: [
        "MeshModel", "CLinux", "KubernetesAPI", .yams, .logging, .x509, .crypto, .asn1, .nio("NIOCore"),
        .nio("NIOPosix"), .nio("NIOHTTP1"), .nio("NIOWebSocket"), .product(name: "NIOSSL", package: "swift-nio-ssl"),
      ]),

    // The stub: without Foundation and NIO, for the memory that they take.
    .target(name: "StubCore", dependencies: ["MeshModel"]),
    .target(name: "StubRuntime", dependencies: ["StubCore", "CStub", "CLinux"]),
    .target(name: "StubHandoff", dependencies: ["PodNetworking", "CStub", "CLinux"]),

    // What the CLI does; a library so that tests reach it.
    .target(
      name: "CLI",
      dependencies: [
        "Capture", "Injection", "KubernetesAPI", "MeshModel", .argumentParser, .yams, .x509, .asn1, .nio("NIOCore"),
        .nio("NIOPosix"), .nio("NIOHTTP1"),
      ]),

    // Programs, thin.
    .executableTarget(name: "weft", dependencies: ["CLI"]),
    .executableTarget(
      name: "weft-agent", dependencies: ["AgentCore", "Observability", .argumentParser, .logging]),
    .executableTarget(name: "weft-proxy", dependencies: ["ProxyRuntime"]),
    .executableTarget(
      name: "weft-control",
      dependencies: [
        "CLinux", "ControlPlane", "Injection", "KubernetesAPI", "Observability", .argumentParser, .logging,
      ]),
    .executableTarget(
      name: "weft-stub", dependencies: ["StubRuntime", "StubHandoff"],
      linkerSettings: [.unsafeFlags(["-static-executable"], .when(configuration: .release))]),
    .executableTarget(name: "weft-lab", dependencies: ["Lab", .argumentParser]),

    .testTarget(name: "MeshModelTests", dependencies: ["MeshModel"]),
    .testTarget(name: "ProxyCoreTests", dependencies: ["ProxyCore"]),
    .testTarget(
      name: "ProxyRuntimeTests", dependencies: ["ProxyRuntime", "DiscoveryAPI", "Identity", "CLinux", .protobuf]),
    .testTarget(name: "IdentityTests", dependencies: ["Identity"]),
    .testTarget(name: "DiscoveryTests", dependencies: ["Discovery", "DiscoveryAPI"]),
    .testTarget(
      name: "ControlPlaneTests",
      dependencies: [
        "Observability", "ControlPlane", "Discovery", "DiscoveryAPI", "Identity", "Injection", "KubernetesAPI",
        "MeshModel",
        .logging,
      ]),
    .testTarget(name: "KubernetesAPITests", dependencies: ["KubernetesAPI"]),
    .testTarget(name: "InjectionTests", dependencies: ["Injection", "KubernetesAPI"]),
    .testTarget(name: "CaptureTests", dependencies: ["Capture"]),
    .testTarget(name: "AgentCoreTests", dependencies: ["AgentCore", "PodNetworking", "weft-proxy"]),
    .testTarget(name: "LabTests", dependencies: ["Lab", "weft-lab", "CLinux", "KubernetesAPI"]),
    .testTarget(
      name: "WeftCLITests",
      dependencies: ["CLI", "KubernetesAPI", .nio("NIOCore"), .nio("NIOPosix"), .nio("NIOHTTP1")]),
    .testTarget(name: "StubCoreTests", dependencies: ["StubCore"]),
    .testTarget(name: "EndToEndTests", dependencies: ["MeshModel"], exclude: ["Programs"]),
  ],
  swiftLanguageModes: [.v6]
)
