import MeshModel

/// Who asked, so that the answer goes back the way the query came.
public enum DNSClient: Hashable, Sendable {
  /// `local` is the address that the client's datagram arrived at: the answer has to leave from it.
  case datagram(peer: SocketAddress, local: IPAddress)
  /// A TCP connection, by a number that the caller doesn't reuse.
  case stream(UInt64)

  var transport: DNSTransport {
    if case .stream = self { .tcp } else { .udp }
  }
}

/// Carries one pod's queries to the servers of its own choice and the answers back, over UDP and TCP.
///
/// Transaction ids on the way out are random, and an answer counts only if id, server, transport and question are
/// those of an outstanding query (RFC 5452 §9.1): whoever else can send to the pod can't put words into the
/// server's mouth. At most 1,024 queries are outstanding; one more fails the oldest. A query by UDP is sent twice,
/// 2 s apart, then fails; one by TCP has the same 4 s.
public struct DNSForwarder: Sendable {
  public enum Action: Hashable, Sendable {
    /// To the server, by the transport that the client used.
    case send([UInt8], to: SocketAddress, transport: DNSTransport)
    case reply([UInt8], to: DNSClient)
  }

  public static let capacity = 1_024
  public static let attemptTimeout: NanoTime = .seconds(2)
  /// How often a query is sent over UDP.
  static let attempts = 2

  private var outstanding = DNSOutstandingQueries(capacity: Self.capacity)
  private var random: any RandomNumberGenerator & Sendable

  /// - Parameter random: has to be unpredictable outside tests.
  public init(random: any RandomNumberGenerator & Sendable = SystemRandomNumberGenerator()) {
    self.random = random
  }

  /// How many queries wait for an answer.
  public var count: Int { outstanding.count }

  /// When `tick` has something to do next; nil while nothing is outstanding.
  public var nextDeadline: NanoTime? { outstanding.oldest?.deadline }

  /// Takes a query that the resolver said to forward; one that can't be read is answered with FORMERR. Answers over
  /// UDP have at most 4,096 bytes: receive into as many.
  public mutating func query(
    _ message: [UInt8], from client: DNSClient, server: SocketAddress, now: NanoTime
  ) -> [Action] {
    let question: DNSQuery
    do {
      question = try message.withUnsafeBytes { bytes throws(DNSFormatError) in try DNSQuery(bytes) }
    } catch {
      let answer = message.withUnsafeBytes { DNSError.answer(.formatError, to: $0) }
      return answer.map { [.reply($0, to: client)] } ?? []
    }
    var actions: [Action] = []
    if outstanding.count == Self.capacity, let oldest = outstanding.removeOldest() { actions += Self.fail(oldest) }

    var id = UInt16.random(in: .min ... .max, using: &random)
    // At most 1,024 of 65,536 are taken.
    while outstanding.contains(id) { id = UInt16.random(in: .min ... .max, using: &random) }
    var sent = message
    sent.setDNS(id, at: 0)
    if let edns = question.edns {
      // A server isn't invited to send more than is received here; it truncates better than we could.
      let size = UInt16(sent[edns.payloadSizeOffset]) << 8 | UInt16(sent[edns.payloadSizeOffset + 1])
      sent.setDNS(min(size, DNSLimits.payload.upperBound), at: edns.payloadSizeOffset)
    }
    let isDatagram = client.transport == .udp
    outstanding.insert(
      DNSOutstandingQuery(
        id: id, clientID: question.id, client: client, server: server, message: sent,
        questionEnd: question.questionEnd, answerLimit: question.answerLimit(client.transport),
        deadline: now + (isDatagram ? Self.attemptTimeout : Self.attemptTimeout * UInt64(Self.attempts)),
        attemptsLeft: isDatagram ? Self.attempts - 1 : 0))
    actions.append(.send(sent, to: server, transport: client.transport))
    return actions
  }

  /// Takes what a server sent. What answers nothing that was asked is ignored.
  public mutating func reply(
    _ message: [UInt8], from server: SocketAddress, transport: DNSTransport, now: NanoTime
  ) -> [Action] {
    guard message.count >= DNSLimits.header, message.count <= DNSLimits.message else { return [] }
    let id = UInt16(message[0]) << 8 | UInt16(message[1])
    guard let query = outstanding[id], query.server == server, query.client.transport == transport,
      query.isAnswered(by: message)
    else { return [] }
    outstanding.remove(id)
    var answer = message
    if answer.count > query.answerLimit { answer = query.truncated(answer) }
    answer.setDNS(query.clientID, at: 0)
    return [.reply(answer, to: query.client)]
  }

  /// Sends again what waited too long, and fails what waited too long twice. Call it at `nextDeadline`.
  public mutating func tick(now: NanoTime) -> [Action] {
    var actions: [Action] = []
    while let oldest = outstanding.oldest, oldest.deadline <= now {
      guard var query = outstanding.removeOldest() else { break }
      guard query.attemptsLeft > 0 else {
        actions += Self.fail(query)
        continue
      }
      query.attemptsLeft -= 1
      query.deadline = now + Self.attemptTimeout
      outstanding.insert(query)
      actions.append(.send(query.message, to: query.server, transport: .udp))
    }
    return actions
  }

  /// The stream to the server couldn't be opened, or ended: its queries fail at once.
  public mutating func streamFailed(to server: SocketAddress) -> [Action] {
    outstanding.removeAll { $0.server == server && $0.client.transport == .tcp }.flatMap(Self.fail)
  }

  /// The client is gone: what it asked is forgotten.
  public mutating func clientGone(_ client: DNSClient) {
    _ = outstanding.removeAll { $0.client == client }
  }

  private static func fail(_ query: DNSOutstandingQuery) -> [Action] {
    var message = query.message
    message.setDNS(query.clientID, at: 0)
    let answer = message.withUnsafeBytes { DNSError.answer(.serverFailure, to: $0) }
    return answer.map { [.reply($0, to: query.client)] } ?? []
  }
}
