import MeshModel
import Testing

@testable import ProxyCore

/// Several workers on one board.
@Suite struct SharedOutlierTests {
  private let board = OutlierBoard()
  private let policy = LoadBalancer(algorithm: .random)
  private var table: OutlierTable { board.table(for: 0) }

  private func set(_ numbers: Range<Int>, _ detection: OutlierDetection) -> EndpointSet {
    var set = EndpointSet()
    update(&set, numbers, detection)
    return set
  }

  private func update(
    _ set: inout EndpointSet, _ numbers: Range<Int>, _ detection: OutlierDetection?, now: NanoTime = 0
  ) {
    set.update(numbers.map { balanced($0) }, policy: policy, outlierDetection: detection, board: board, now: now)
  }

  /// By their numbers.
  private func ejected(_ set: EndpointSet) -> Set<Int> {
    Set(
      set.endpoints.indices.filter { set.status(of: $0, now: 0).ejectedUntil != nil }
        .map { Int(set.endpoints[$0].address.ip.low & 0xff_ffff) })
  }

  // MARK: Errors in a row

  @Test func errorsOfAllWorkersCount() {
    var random = SeededRandom(state: 61)
    let detection = OutlierDetection(consecutiveErrors: 5)
    var sets = [set(0..<10, detection), set(0..<10, detection)]
    for failure in 0..<4 { sets[failure % 2].run(4, .failure, now: 0) }
    #expect(ejected(sets[0]) == [])
    // One worker's success is the end of the other's row.
    sets[1].run(4, .success, now: 0)
    for failure in 0..<4 { sets[failure % 2].run(4, .failure, now: 0) }
    #expect(ejected(sets[0]) == [] && ejected(sets[1]) == [])
    sets[0].run(4, .failure, now: 0)
    for index in sets.indices {
      #expect(ejected(sets[index]) == [4] && sets[index].status(of: 4, now: 0).ejections == 1)
      #expect(sets[index].persistent(EndpointToken(endpointAddress(4))) == nil)
      let counts = sets[index].counts(9000, random: &random)
      #expect(counts[4] == 0 && counts.count { $0 > 800 } == 9)
    }
    // Back for all at once, whoever's clock is ahead.
    _ = sets[1].choose(now: .seconds(30), random: &random)
    for index in sets.indices {
      #expect(ejected(sets[index]) == [])
      #expect(sets[index].counts(2000, now: .seconds(29), random: &random)[4] > 100)
    }
    #expect(table.ejected.load(ordering: .relaxed) == 0)
  }

  /// A worker without requests knows it too, once it is asked.
  @Test func anIdleWorkerCatchesUp() {
    let detection = OutlierDetection(consecutiveErrors: 1)
    var (busy, idle) = (set(0..<4, detection), set(0..<4, detection))
    busy.run(2, .failure, now: 0)
    idle.catchUp(now: 1)
    #expect(!idle.status(of: 2, now: 1).isUsable && idle.status(of: 2, now: 1).ejectedUntil == .seconds(30))
    idle.catchUp(now: .seconds(30))
    #expect(idle.status(of: 2, now: 1).isUsable && ejected(busy) == [])
  }

  @Test func thePercentageIsTheNodes() {
    let detection = OutlierDetection(consecutiveErrors: 1, maximumEjectionPercent: 30)
    var sets = [set(0..<10, detection), set(0..<10, detection)]
    for index in 0..<10 { sets[index % 2].run(index, .failure, now: 0) }
    #expect(ejected(sets[0]) == [0, 1, 2] && ejected(sets[1]) == [0, 1, 2])
    // For a shorter list it holds at once; what the first worker has no more counts until the other follows.
    update(&sets[0], 2..<7, detection)
    #expect(ejected(sets[0]) == [2] && ejected(sets[1]) == [0, 1, 2])
    sets[0].run(4, .failure, now: 1)
    #expect(ejected(sets[0]) == [2])
    update(&sets[1], 2..<7, detection)
    #expect(ejected(sets[1]) == [2] && table.ejected.load(ordering: .relaxed) == 1)
  }

  // MARK: Intervals

  @Test func successRatesAreTheNodes() {
    let detection = OutlierDetection(
      consecutiveErrors: 0, maximumEjectionPercent: 50, successRateDeviation: 1900, minimumRequests: 100)
    var sets = [set(0..<10, detection), set(0..<10, detection)]
    for request in 0..<100 {
      for index in 0..<10 {
        let fails = request % (index == 7 ? 10 : 100) == 0
        sets[request % 2].run(index, fails ? .failure : .success, now: .seconds(1))
      }
    }
    // Either has met 50 requests: only together they are enough.
    sets[1].catchUp(now: .seconds(10))
    #expect(ejected(sets[0]) == [7])
    // The interval has ended for both.
    sets[0].catchUp(now: .seconds(10))
    #expect(ejected(sets[0]) == [7] && sets[0].nextEvent == .seconds(20) && sets[1].nextEvent == .seconds(20))
  }

  @Test func latenciesAreTheNodes() {
    let detection = OutlierDetection(
      consecutiveErrors: 0, maximumEjectionPercent: 50, minimumRequests: 20, latencyPercent: 300)
    var sets = [set(0..<6, detection), set(0..<6, detection)]
    for request in 0..<20 {
      for index in 0..<6 {
        // The mean of what both met: 40 ms; of the others 10 ms.
        let latency: UInt64 = index == 3 && request % 2 == 0 ? 70 : 10
        sets[request % 2].run(index, .success, latency: .milliseconds(latency), now: .seconds(1))
      }
    }
    sets[1].catchUp(now: .seconds(10))
    #expect(ejected(sets[0]) == [3])
  }

  // MARK: Lists

  @Test func anEndpointIsForgottenWhenTheLastWorkerHasDroppedIt() {
    let detection = OutlierDetection(consecutiveErrors: 1)
    var sets = [set(0..<4, detection), set(0..<4, detection)]
    sets[0].run(2, .failure, now: 0)
    update(&sets[0], 0..<2, detection)
    update(&sets[0], 0..<4, detection)
    #expect(ejected(sets[0]) == [2])
    for index in sets.indices { update(&sets[index], 0..<2, index == 0 ? detection : nil) }
    #expect(table.ejected.load(ordering: .relaxed) == 0)
    for index in sets.indices { update(&sets[index], 0..<4, detection) }
    #expect(ejected(sets[0]) == [] && sets[1].status(of: 2, now: 0).ejections == 0)
  }

  /// Many more endpoints than places, one list after the other: each gets a place, also after a worker has ended.
  @Test func placesAreUsedAgain() {
    let detection = OutlierDetection(consecutiveErrors: 1, maximumEjectionPercent: 100)
    var sets = [set(0..<0, detection), set(0..<0, detection)]
    for round in 0..<60 {
      let numbers = round * 100..<round * 100 + 200
      for index in sets.indices { update(&sets[index], numbers, detection) }
      for index in 0..<200 { sets[round % 2].run(index, .failure, now: 0) }
      #expect(ejected(sets[0]).count == 200)
      if round % 10 == 9 { sets[1] = EndpointSet() }
    }
    sets = []
    #expect(table.ejected.load(ordering: .relaxed) == 0)
  }

  /// Those without a place stay in use, and the others are judged as ever.
  @Test func aFullBoard() {
    let detection = OutlierDetection(consecutiveErrors: 1, maximumEjectionPercent: 100)
    var (small, large) = (set(0..<10, detection), set(0..<4000, detection))
    let placed = large.slots.indices.filter { large.slots[$0].place >= 0 }
    #expect((1025...2048).contains(placed.count) && placed.starts(with: 0..<10))
    let without = large.slots.firstIndex { $0.place < 0 }!
    for _ in 0..<2 {
      large.run(without, .failure, now: 0)
      large.run(placed.last!, .failure, now: 0)
      small.run(9, .failure, now: 0)
    }
    #expect(ejected(large) == [9, placed.last!] && ejected(small) == [9])
    update(&large, 5000..<6000, detection)
    #expect(large.slots.count { $0.place >= 0 } == 1000 && table.ejected.load(ordering: .relaxed) == 1)
    // Sized by the first list.
    let alone = EndpointSet((0..<4000).map { balanced($0) }, .random, outlierDetection: detection)
    #expect(alone.slots.allSatisfy { $0.place >= 0 })
  }

  // MARK: Threads

  /// Workers at once, each with lists of its own that change: never more than the maximum, and nobody who didn't fail.
  @Test func threadsShareABoard() async {
    let board = board
    let detection = OutlierDetection(
      consecutiveErrors: 3, interval: 5, baseEjectionTime: 2, maximumEjectionTime: 4, maximumEjectionPercent: 20)
    let ejections = await withTaskGroup(of: UInt64.self) { group in
      for worker in 0..<3 as Range<UInt64> {
        group.addTask {
          var random = SeededRandom(state: worker)
          var set = EndpointSet()
          var (most, innocent) = (0, 0)
          for step in 0..<40_000 as Range<UInt64> {
            let now = step * 10_000
            if step % 100 == 0 {
              let first = Int.random(in: 0..<10, using: &random)
              set.update(
                (first..<first + 20).map { balanced($0) }, policy: LoadBalancer(), outlierDetection: detection,
                board: board, now: now)
            }
            guard let index = set.choose(now: now, random: &random) else { continue }
            // The even ones never fail.
            let fails = set.endpoints[index].address.ip.low % 2 == 1 && random.next() % 4 > 0
            set.run(index, fails ? .failure : .success, now: now)
            most = max(most, board.table(for: 0).ejected.load(ordering: .relaxed))
            if set.endpoints[index].address.ip.low % 2 == 0, set.status(of: index, now: now).ejections > 0 {
              innocent += 1
            }
          }
          #expect(most <= 4 && innocent == 0)
          return board.table(for: 0).generation.load(ordering: .relaxed)
        }
      }
      return await group.reduce(0, max)
    }
    #expect(ejections > 0)
    // All have ended: nothing is left.
    #expect(table.ejected.load(ordering: .relaxed) == 0)
    let fresh = set(0..<30, detection)
    #expect(ejected(fresh) == [] && fresh.endpoints.indices.allSatisfy { fresh.status(of: $0, now: 0).ejections == 0 })
  }

  /// Claims and releases of the same few places by threads: all are free in the end, and no two endpoints had one.
  @Test func threadsShareThePlaces() async {
    let table = OutlierTable(endpoints: 0)
    await withTaskGroup(of: Void.self) { group in
      for worker in 0..<3 as Range<UInt64> {
        group.addTask {
          var random = SeededRandom(state: worker)
          var held: [(place: Int, hash: UInt64)] = []
          for _ in 0..<20_000 {
            if held.count < 8, random.next() % 2 == 0 {
              // All begin at one place.
              let hash = (random.next() % 12 + 1) << 16
              guard let place = table.join(hash) else {
                Issue.record("12 endpoints have 64 places")
                return
              }
              #expect(held.allSatisfy { $0.place != place || $0.hash == hash })
              held.append((place, hash))
            } else if let last = held.popLast() {
              table.leave(last.place)
            }
          }
          for one in held { table.leave(one.place) }
        }
      }
    }
    let places = (1...64 as ClosedRange<UInt64>).compactMap { table.join($0 << 16) }
    #expect(Set(places).count == 64 && table.join(65 << 16) == nil)
  }
}
