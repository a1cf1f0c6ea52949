import ArgumentParser

struct Connections: AgentCommand {
  static let configuration = CommandConfiguration(abstract: "Lists the connections that the node's proxy carries now.")
  static let path = "/v1/connections"
  @OptionGroup var options: GlobalOptions

  func table(_ answer: ConnectionsAnswer, _ style: Style) -> String {
    var table = Table(
      ("NODE", .left), ("DIRECTION", .left), ("SOURCE", .left), ("DESTINATION", .left), ("SERVICE", .left),
      ("PEER", .left),
      ("PROTOCOL", .left), ("TLS", .left), ("SENT", .right), ("RECEIVED", .right), ("AGE", .right), ("STATE", .left))
    for connection in answer.connections {
      table.add(
        connection.agent, connection.direction, Self.named(connection.source, connection.downstreamAddress),
        Self.named(connection.destination, connection.upstreamAddress), connection.service, Self.peer(connection),
        connection.protocol, Text.yesNo(connection.tls), connection.bytesSent.map(Text.bytes),
        connection.bytesReceived.map(Text.bytes), Text.duration(connection.ageSeconds), connection.state)
    }
    let shown = answer.connections.count
    let more = answer.total > shown ? "\nThe first \(shown) of \(answer.total) connections.\n" : ""
    return table.render(none: "The proxy carries no connections.") + more
  }

  /// Whom this node's proxy has authenticated: the far side's identity.
  private static func peer(_ connection: ConnectionsAnswer.Entry) -> String? {
    connection.direction == "inbound" ? connection.sourceIdentity : connection.destinationIdentity
  }

  private static func named(_ name: String?, _ address: String?) -> String? {
    guard let name, !name.isEmpty else { return address }
    return name
  }
}
