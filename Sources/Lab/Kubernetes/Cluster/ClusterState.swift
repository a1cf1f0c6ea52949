import Foundation

extension LabState {
  /// The programs of a lab's Kubernetes cluster.
  public struct Cluster: Codable, Sendable {
    public var processes: [String: ProcessRecord] = [:]

    public subscript(program: ClusterProgram) -> ProcessRecord? {
      get { processes[program.rawValue] }
      set { processes[program.rawValue] = newValue }
    }
  }

  /// How a node names the cgroups of its pods.
  public struct NodeRuntime: Codable, Sendable, Hashable {
    public enum Driver: String, Codable, Sendable { case systemd, cgroupfs }
    public enum Engine: String, Codable, Sendable {
      case containerd
      case crio = "cri-o"
    }

    public var driver = Driver.systemd
    public var engine = Engine.containerd

    static let driverAnnotation = "lab.weft.dev/cgroup-driver"
    static let engineAnnotation = "lab.weft.dev/runtime"

    /// - Throws: `LabError` naming file, line and field of an unknown value.
    init(_ node: Manifest) throws {
      let annotations = node.root["metadata"]["annotations"]
      let driver = annotations[Self.driverAnnotation]
      let engine = annotations[Self.engineAnnotation]
      self.driver = Driver(rawValue: try driver.choice(["systemd", "cgroupfs"], default: "systemd")) ?? .systemd
      self.engine = Engine(rawValue: try engine.choice(["containerd", "cri-o"], default: "containerd")) ?? .containerd
    }

    public init(driver: Driver = .systemd, engine: Engine = .containerd) {
      self.driver = driver
      self.engine = engine
    }
  }
}
