import Glibc

/// What the container's resources bound, said again where agent and proxy live outside of its cgroup: there the container's own
/// bounds hold for nobody.
public enum ContainerResources {
  /// Files of cgroup v2 (Documentation/admin-guide/cgroup-v2.rst): what the kubelet writes of limits and requests.
  private static let files = ["memory.max", "cpu.weight"]

  /// - Parameters:
  ///   - container: its folder, as it was before it was left.
  ///   - folder: the one above the agent's and the proxy's.
  /// - Returns: why some don't hold.
  public static func take(from container: String, to folder: String) -> [String] {
    files.compactMap { name in
      let text = CgroupListing.read("\(container)/\(name)", limit: 64)
      guard let value = text.map({ String($0.prefix { $0 != "\n" }) }), value == "max" || UInt64(value) != nil else {
        // Where the controller is off there is nothing to take.
        return nil
      }
      guard let code = write(value, to: "\(folder)/\(name)") else { return nil }
      return "\(name) \(value) isn't set on \(folder): \(String(cString: strerror(code)))"
    }
  }

  /// - Returns: errno; nil: it is written.
  private static func write(_ value: String, to path: String) -> Int32? {
    let descriptor = open(path, O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return errno }
    defer { close(descriptor) }
    return Glibc.write(descriptor, value, value.utf8.count) == value.utf8.count ? nil : errno
  }
}
