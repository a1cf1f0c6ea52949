import Foundation
import KubernetesAPI
import Testing

@testable import ControlPlane

/// The Lease of an API server that takes a write only of the version that it has.
private struct Server {
  var lease: Lease?
  private var version = 0

  mutating func write(_ new: Lease) -> Bool {
    guard new.resourceVersion == lease?.resourceVersion ?? "" else { return false }
    version += 1
    lease = new
    lease?.resourceVersion = String(version)
    return true
  }
}

private struct Replica {
  var election: LeaseElection

  init(_ name: String) { election = LeaseElection(identity: name) }

  mutating func round(_ server: inout Server, now: Double, wall: String? = nil) {
    guard let lease = election.decide(server.lease, time: wall ?? "t\(now)", now: now) else { return }
    if server.write(lease) { election.written(sent: now) } else { election.lost() }
  }
}

@Suite struct LeaseElectionTests {
  @Test func oneLeadsAndRenews() {
    var server = Server()
    var (one, two) = (Replica("one"), Replica("two"))
    for second in stride(from: 0.0, to: 60, by: 2) {
      one.round(&server, now: second)
      two.round(&server, now: second + 1)
      #expect(one.election.isLeader(now: second + 1) && !two.election.isLeader(now: second + 1))
    }
    #expect(server.lease?.holder == "one" && server.lease?.transitions == 0)
  }

  @Test func twoThatStartTogetherDontBothLead() {
    var server = Server()
    var (one, two) = (LeaseElection(identity: "one"), LeaseElection(identity: "two"))
    let (first, second) = (one.decide(nil, time: "t", now: 0), two.decide(nil, time: "t", now: 0))
    let (isFirst, isSecond) = (server.write(first!), server.write(second!))
    #expect(isFirst && !isSecond)
    one.written(sent: 0)
    two.lost()
    #expect(one.isLeader(now: 1) && !two.isLeader(now: 1))
  }

  /// A holder that can't renew gives up before another one may take the Lease: there is no instant with two.
  @Test func aHolderThatIsCutOffGivesUpBeforeAnotherTakesOver() {
    var server = Server()
    var (one, two) = (Replica("one"), Replica("two"))
    one.round(&server, now: 0)
    one.round(&server, now: 2)
    var taken: Double?
    for tenth in 20..<400 {
      let now = Double(tenth) / 10
      if tenth % 20 == 5 { two.round(&server, now: now) }
      #expect(!(one.election.isLeader(now: now) && two.election.isLeader(now: now)))
      if taken == nil, two.election.isLeader(now: now) { taken = now }
    }
    #expect((17...20).contains(taken ?? 0))
    #expect(server.lease?.holder == "two" && server.lease?.transitions == 1)
    // The first one comes back and follows.
    one.round(&server, now: 41)
    #expect(!one.election.isLeader(now: 41) && server.lease?.holder == "two")
  }

  /// Only one's own clock counts: a holder whose clock is an hour off keeps the Lease as long as it renews.
  @Test func clocksOfOthersAreNotCompared() {
    var server = Server()
    var (one, two) = (Replica("one"), Replica("two"))
    for second in stride(from: 0.0, to: 60, by: 2) {
      one.round(&server, now: second, wall: Lease.time(Date(timeIntervalSince1970: second - 3600)))
      two.round(&server, now: second + 1_000_000, wall: Lease.time(Date(timeIntervalSince1970: second)))
      #expect(!two.election.isLeader(now: second + 1_000_000))
    }
  }

  @Test func aLeaseThatIsGivenUpIsTakenAtOnce() {
    var server = Server()
    var (one, two) = (Replica("one"), Replica("two"))
    one.round(&server, now: 0)
    two.round(&server, now: 1)
    let released = one.election.release(server.lease, time: "t1")
    let isWritten = server.write(released!)
    #expect(isWritten)
    #expect(!one.election.isLeader(now: 1))
    two.round(&server, now: 1.5)
    #expect(two.election.isLeader(now: 1.5))
    // What isn't held isn't given up.
    let again = one.election.release(server.lease, time: "t2")
    #expect(again == nil)
  }

  @Test func theLeaseIsKubernetes() throws {
    var lease = Lease()
    lease.holder = "one"
    lease.acquired = Lease.time(Date(timeIntervalSince1970: 1_700_000_000.25))
    #expect(lease.acquired == "2023-11-14T22:13:20.250000Z")
    lease.resourceVersion = "7"
    #expect(Lease(lease.object(namespace: "weft-system")) == lease)
    #expect(Lease(["spec": ["leaseDurationSeconds": 0]]).duration == 1)
    #expect(Lease("nonsense") == Lease())
  }
}
