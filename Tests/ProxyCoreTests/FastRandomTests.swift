import Testing

@testable import ProxyCore

@Suite struct FastRandomTests {
  /// The numbers of the authors' own xoshiro256plusplus.c, seeded by their splitmix64.c with 0.
  @Test func itIsXoshiro256PlusPlus() {
    var random = FastRandom(seed: 0)
    #expect(
      (0..<4).map { _ in random.next() } == [
        0x5317_5d61_490b_23df, 0x61da_6f3d_c380_d507, 0x5c0f_df91_ec9a_7bfc, 0x02ee_bf8c_3bbe_5e1a,
      ])
  }

  @Test func aSeedSaysAllAndTheSystemSeedsOthers() {
    var (one, same, other) = (FastRandom(seed: 9), FastRandom(seed: 9), FastRandom(seed: 10))
    let numbers = (0..<100).map { _ in one.next() }
    #expect(numbers == (0..<100).map { _ in same.next() } && numbers != (0..<100).map { _ in other.next() })
    var (left, right) = (FastRandom(), FastRandom())
    #expect(left.next() != right.next())
  }

  @Test func everyBitIsAsOftenSetAsNot() {
    var random = FastRandom(seed: 4)
    var counts = Array(repeating: 0, count: 64)
    for _ in 0..<20_000 {
      let number = random.next()
      for bit in 0..<64 where number >> UInt64(bit) & 1 == 1 { counts[bit] += 1 }
    }
    // Five standard deviations of 71.
    #expect(counts.allSatisfy { abs($0 - 10_000) < 355 })
  }
}
