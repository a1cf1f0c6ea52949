import Crypto
import MeshModel

/// Which secret lets a node join: lines `node token`, blank lines and `#` comments. Only digests are kept.
public struct JoinTokens: Sendable {
  public static let maximumBytes = 4 * 1024 * 1024
  /// Shorter tokens can be guessed.
  public static let minimumTokenBytes = 16
  public static let maximumTokenBytes = 1024

  private var digests: [String: SHA256.Digest] = [:]
  /// What a token of an unknown node is compared to, so that both answers take the same time.
  private let nobody = SHA256.hash(data: SymmetricKey(size: .bits256).withUnsafeBytes { Array($0) })

  /// Nobody may join.
  public init() {}

  /// Refuses a file that others can read.
  public init(file path: String) throws(IdentityError) {
    guard let bytes = try SecureFile.read(path, maximumBytes: Self.maximumBytes, isPrivate: true) else {
      throw IdentityError(.file(2), "there is no join token file \(path); write lines `node token` into it, mode 600")
    }
    try self.init(text: String(decoding: bytes, as: UTF8.self), name: path)
  }

  /// - Parameter name: what errors call the text.
  public init(text: String, name: String = "join tokens") throws(IdentityError) {
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      let words = line.split(whereSeparator: \.isWhitespace)
      guard let node = words.first, !node.hasPrefix("#") else { continue }
      let place = "\(name):\(index + 1)"
      guard words.count == 2 else { throw IdentityError(.invalid, "\(place): a line is `node token`") }
      guard DNSName.isSubdomain(node) else {
        throw IdentityError(.invalid, "\(place): the node name is not a DNS name")
      }
      guard (Self.minimumTokenBytes...Self.maximumTokenBytes).contains(words[1].utf8.count) else {
        throw IdentityError(
          .invalid, "\(place): a token has \(Self.minimumTokenBytes) to \(Self.maximumTokenBytes) bytes")
      }
      guard digests.updateValue(SHA256.hash(data: Array(words[1].utf8)), forKey: String(node)) == nil else {
        throw IdentityError(.invalid, "\(place): node \(node) has a token already")
      }
    }
  }

  public var nodes: [String] { digests.keys.sorted() }

  /// Whether the token is the node's. Takes the same time whatever differs.
  public func accepts(token: String, node: String) -> Bool {
    let known = digests[node]
    // Digest's == is constant-time.
    let same = SHA256.hash(data: Array(token.utf8.prefix(Self.maximumTokenBytes + 1))) == (known ?? nobody)
    return same && known != nil
  }
}
