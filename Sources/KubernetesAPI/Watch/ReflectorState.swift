/// What to ask next so that a copy of all objects of a kind stays true: a list in pages, then a watch from its version;
/// another watch where one ends, another list where its version is gone. Pure.
public struct ReflectorState: Sendable {
  public enum Request: Hashable, Sendable {
    /// - Parameter continuing: empty: the first page.
    case page(continuing: String)
    case watch(from: String)
    /// The newest version that there is: a server that was restored from a backup, or lost everything, is behind.
    case newest
  }

  /// A part of a list.
  public struct Part: Hashable, Sendable {
    public var objects: [KubernetesObject]
    /// Parts of a list before it that broke off count no more.
    public var isFirst: Bool
    public var isLast: Bool

    public init(objects: [KubernetesObject], isFirst: Bool, isLast: Bool) {
      self.objects = objects
      self.isFirst = isFirst
      self.isLast = isLast
    }
  }

  public enum Change: Hashable, Sendable {
    /// All there are: what isn't among them is gone.
    case all([KubernetesObject])
    case changed(KubernetesObject)
    case deleted(KubernetesObject)
  }

  /// A list that never ends isn't kept: more objects of one kind than this are refused.
  public static let maximumObjects = 1_000_000
  /// Milliseconds.
  public static let longestPause = 30_000
  /// A kind that the server doesn't know is asked for again so often, in milliseconds.
  public static let missingPause = 10_000

  /// Objects of the list so far.
  private var listed = 0
  private var continuing = ""
  /// Empty: everything has to be listed.
  private var version = ""
  private var failures = 0
  /// Times that a version was gone before a watch from it told anything.
  private var timesGone = 0
  /// A watch has ended, for whatever reason: what the server has may be older than what it told.
  private var isDoubtful = false
  /// Whether the last failure was that the kind is unknown: a missing CRD is no error.
  public private(set) var isMissing = false

  public init() {}

  public var next: Request {
    if version.isEmpty { return .page(continuing: continuing) }
    return isDoubtful ? .newest : .watch(from: version)
  }

  /// The watch has ended as it should.
  public mutating func watchEnded() { isDoubtful = true }

  /// Versions of one server's objects are numbers that grow (Kubernetes 1.35 promises it; all before kept it). Versions that
  /// are none say nothing. A watch from a version that is still to come would say nothing until it does
  /// (kubernetes/kubernetes#107457).
  public mutating func received(newest: String) {
    isDoubtful = false
    guard let newest = UInt64(newest), let known = UInt64(version), newest < known else { return }
    restart()
  }

  public mutating func received(_ page: ObjectPage) throws(KubernetesError) -> Part {
    let part = Part(objects: page.objects, isFirst: continuing.isEmpty, isLast: page.next.isEmpty)
    listed += page.objects.count
    guard listed <= Self.maximumObjects else {
      restart()
      throw .malformed("more than \(Self.maximumObjects) objects in a list")
    }
    continuing = page.next
    failures = 0
    isMissing = false
    if part.isLast {
      version = page.resourceVersion
      listed = 0
    }
    return part
  }

  /// - Throws: what ends the watch.
  public mutating func received(_ event: WatchEvent) throws(KubernetesError) -> Change? {
    let change: Change?
    switch event {
    case .changed(let object):
      version = object.resourceVersion
      change = .changed(object)
    case .deleted(let object):
      version = object.resourceVersion
      change = .deleted(object)
    case .bookmark(let version):
      self.version = version
      change = nil
    case .failed(let error): throw error
    }
    failures = 0
    timesGone = 0
    return change
  }

  /// - Parameter random: 0..<1
  /// - Returns: milliseconds to wait before `next`.
  public mutating func failed(_ error: KubernetesError, random: Double) -> Int {
    isMissing = false
    isDoubtful = true
    switch error {
    case .gone, .malformed: restart()
    case .notFound:
      // Also a kind that went: what there was of it is gone with the next list.
      restart()
      isMissing = true
      return Self.missingPause
    default: break
    }
    failures = min(failures + 1, 16)
    if case .throttled(let seconds) = error { return seconds * 1000 + Int(random * 1000) }
    switch error {
    case .gone, .malformed: timesGone = min(timesGone + 1, 16)
    default: break
    }
    // The first list after a 410 comes at once, the next ones no quicker than after other failures: that a list succeeds
    // says nothing of the watch after it.
    if error == .gone, timesGone == 1, failures == 1 { return 0 }
    // Full jitter over a doubling time, half of it at least, so that many don't come together.
    let bound = min(100 << max(failures, timesGone), Self.longestPause)
    return bound / 2 + Int(random * Double(bound / 2))
  }

  /// A list begins anew: its continuation is of no use any more.
  private mutating func restart() {
    listed = 0
    continuing = ""
    version = ""
    isDoubtful = false
  }
}
