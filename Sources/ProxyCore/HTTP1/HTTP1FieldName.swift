/// Which fields belong to one connection, and which may not stand in a trailer section.
enum HTTP1FieldName {
  enum InTrailers { case allowed, dropped, refused }

  /// RFC 9110 §6.5.1: what frames or routes is an attack; what modifies a request, authenticates or says how to handle
  /// the content comes too late and is left out.
  static func inTrailers(_ name: HTTP1Line) -> InTrailers {
    func isOneOf(_ names: StaticString...) -> Bool { names.contains { name.equals($0) } }
    return switch name.count {
    case 2 where name.equals("te"), 4 where name.equals("host"), 7 where isOneOf("trailer", "upgrade"),
      10 where isOneOf("connection", "keep-alive"), 14 where name.equals("content-length"),
      16 where name.equals("proxy-connection"), 17 where name.equals("transfer-encoding"):
      .refused
    case 5 where name.equals("range"), 6 where isOneOf("cookie", "expect"), 10 where name.equals("set-cookie"),
      12 where isOneOf("content-type", "max-forwards"),
      13 where isOneOf("authorization", "cache-control", "content-range"), 16 where name.equals("content-encoding"),
      19 where name.equals("proxy-authorization"):
      .dropped
    default: .allowed
    }
  }
}
