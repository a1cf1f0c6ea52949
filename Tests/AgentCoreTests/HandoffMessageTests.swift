import PodNetworking
import Testing

@Suite struct HandoffMessageTests {
  static let messages: [HandoffMessage] = [
    HandoffMessage(.hello), HandoffMessage(.open, wanted: .listeners, id: 1),
    HandoffMessage(.open, wanted: .listener(.dnsUpstream), id: 0xfedc_ba98),
    HandoffMessage(.opened, wanted: .sockets(.deliveryV6, count: 128), id: 7),
    HandoffMessage(.failed, id: 9, text: "port 15008 is taken"), HandoffMessage(.captured), HandoffMessage(.released),
  ]

  @Test(arguments: messages) func whatIsWrittenIsRead(message: HandoffMessage) {
    #expect(HandoffMessage(message.bytes) == message)
  }

  @Test func whatIsNoneIsRefused() {
    let good = HandoffMessage(.open, wanted: .sockets(.egressV4, count: 1), id: 1).bytes
    #expect(HandoffMessage(good.dropLast()) == nil)
    #expect(HandoffMessage(good + Array(repeating: 0, count: 512)) == nil)
    for (index, value) in [(0, 2), (1, 0), (1, 99), (2, 0x1f), (2, 0x2f), (2, 0xff), (3, 0), (3, 129)] as [(Int, UInt8)]
    {
      var bad = good
      bad[index] = value
      #expect(HandoffMessage(bad) == nil)
    }
  }

  @Test func aLongReasonIsCut() {
    let long = HandoffMessage(.failed, text: String(repeating: "x", count: 2000))
    #expect(long.bytes.count == HandoffMessage.maximumBytes)
    #expect(HandoffMessage(long.bytes) != nil)
  }
}
