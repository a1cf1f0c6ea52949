import Synchronization

/// What outlier detection knows of the endpoints of a Service's port, for the node: its workers count errors, eject and
/// hold to the maximum percentage together, without a lock. One for each settings and address family, since those who
/// judge otherwise, or others, don't share what they find.
///
/// It knows as many endpoints as the first list has, at least 1,024 and at most 32,768. Those that came last of more are
/// never ejected, which is the safe side: a worker's own counts of them would eject more than the maximum percentage.
/// Takes 128 KiB, or up to 4 MiB with longer lists, from the first `EndpointSet.update` with it on: before, nothing.
public final class OutlierBoard: Sendable {
  private let made = AtomicLazyReference<OutlierTable>()

  public init() {}

  /// - Parameter endpoints: how many the caller has.
  func table(for endpoints: Int) -> OutlierTable {
    made.load() ?? made.storeIfNil(OutlierTable(endpoints: endpoints))
  }
}
