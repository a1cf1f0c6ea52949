/// Fields that are of one connection only, because Connection names them (RFC 9110 §7.6.1).
extension HTTPHead {
  /// Takes out Connection and the fields that it names: done as soon as a head is taken in, so that nobody names away what
  /// the proxy adds. What frames the message, Host, TE and Upgrade are left to whoever writes the next head. Allocates
  /// nothing, and without a Connection field only looks for one.
  public mutating func removeConnectionFields() {
    while let index = index(of: "connection") {
      let names = fields[index].value
      fields.remove(at: index)
      removeFields(namedIn: names)
    }
  }

  /// The values of all Connection fields, as one list.
  func connectionOptions() -> [UInt8] {
    var options: [UInt8] = []
    var next = index(of: "connection")
    while let index = next {
      options += bytes[fields[index].value.range]
      options.append(UInt8(ascii: ","))
      next = self.index(of: "connection", from: index + 1)
    }
    return options
  }

  /// - Parameter list: names between commas, in the arena.
  mutating func removeFields(namedIn list: Slice) {
    var start = list.range.lowerBound
    while start < list.range.upperBound {
      var comma = start
      while comma < list.range.upperBound, bytes[comma] != UInt8(ascii: ",") { comma += 1 }
      var end = comma
      while start < end, bytes[start] == 32 || bytes[start] == 9 { start += 1 }
      while start < end, bytes[end - 1] == 32 || bytes[end - 1] == 9 { end -= 1 }
      removeFields(named: Slice(start, end - start))
      start = comma + 1
    }
  }

  private mutating func removeFields(named name: Slice) {
    guard !isKept(name) else { return }
    var index = 0
    while index < fields.count {
      if isSame(fields[index].name, name) { fields.remove(at: index) } else { index += 1 }
    }
  }

  private func isKept(_ name: Slice) -> Bool {
    func isOneOf(_ text: StaticString) -> Bool {
      equalsIgnoringCase(name, UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }
    return switch name.count {
    case 0: true
    case 2: isOneOf("te")
    case 4: isOneOf("host")
    case 7: isOneOf("upgrade")
    case 14: isOneOf("content-length")
    case 17: isOneOf("transfer-encoding")
    default: false
    }
  }

  private func isSame(_ left: Slice, _ right: Slice) -> Bool {
    guard left.count == right.count else { return false }
    for offset in 0..<Int(left.count) {
      let (first, second) = (bytes[Int(left.start) + offset], bytes[Int(right.start) + offset])
      guard first.asciiLowercase == second.asciiLowercase else { return false }
    }
    return true
  }
}
