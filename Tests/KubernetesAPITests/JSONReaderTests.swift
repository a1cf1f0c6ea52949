import Foundation
import Testing

@testable import KubernetesAPI

@Suite struct JSONReaderTests {
  private func read(_ text: String, skipping: Set<String> = []) throws -> JSONNode {
    try JSONReader.read(Array(text.utf8), skipping: skipping)
  }

  @Test func values() throws {
    #expect(try read(" null ") == .null)
    #expect(try read("[true,false , -1.5e3]") == [true, false, .number("-1.5e3")])
    #expect(try read(#"{"a": {"b": []}, "c": "d"}"#) == ["a": ["b": []], "c": "d"])
    #expect(try read(#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00""#) == .text("\"\\/\u{8}\u{c}\n\r\té😀"))
    let node = try read(#"{"a": {"n": 7, "list": [1, 2]}, "t": "x"}"#)
    #expect(node["a"]?["n"]?.integer == 7 && node["t"]?.text == "x" && node["a"]?["list"]?.elements.count == 2)
    #expect(node["no"] == nil && node["t"]?["a"] == nil && node["t"]?.elements.isEmpty == true)
  }

  @Test func whatNobodyReadsIsLeftOut() throws {
    let text = #"{"managedFields": [{"a": "\n"}, {"deep": {"x": 1}}], "kept": {"managedFields": 1, "b": 2}}"#
    #expect(try read(text, skipping: ["managedFields"]) == ["kept": ["b": 2]])
    // It's checked all the same.
    #expect(throws: JSONProblem.self) { try read(#"{"managedFields": [}, "b": 2}"#, skipping: ["managedFields"]) }
  }

  @Test func whatIsSelectedIsRead() throws {
    let text = #"{"a": {"x": 1, "y": [{"p": 1, "q": {"r": 2}}, 7]}, "labels": {"env": "e"}, "b": {"x": "\n"}}"#
    func selected(_ selection: JSONSelection) throws -> JSONNode { try JSONReader.read(Array(text.utf8), selection) }
    #expect(try selected(["a": ["y": ["q": .all]]]) == ["a": ["y": [["q": ["r": 2]], 7]]])
    #expect(try selected(["labels": .all, "c": .all]) == ["labels": ["env": "e"]])
    #expect(try selected(["b": .none]) == .object([]))
    #expect(throws: JSONProblem.self) { try JSONReader.read(Array(#"{"a": {"b": tru}}"#.utf8), ["c": .all]) }
  }

  @Test(arguments: [
    "", "{", "[1,]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "tru", "nul", "01a", "-", "1.2.3", "\"a", "\"\\x\"",
    "\"\\u12\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\u+123\"", "\"a\nb\"", "[1] 2", "}", "\u{feff}1",
  ])
  func whatIsNoJSONIsRefused(text: String) {
    #expect(throws: JSONProblem.self) { try read(text) }
  }

  @Test func depthIsBounded() throws {
    func nested(_ depth: Int) -> String {
      String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
    }
    _ = try read(nested(JSONReader.maximumDepth))
    #expect(throws: JSONProblem.self) { try read(nested(JSONReader.maximumDepth + 2)) }
    #expect(throws: JSONProblem.self) { try read(nested(100_000)) }
  }

  /// Any cut of a text, and any damaged byte, is refused or read, and never more than that.
  @Test func damagedTexts() throws {
    let text = Array(#"{"a":[1,true,null,"x\u00e9\n"],"b":{"c":-1.5e3,"d":"é"}}"#.utf8)
    for end in text.indices { #expect(throws: JSONProblem.self) { try JSONReader.read(text[..<end]) } }
    for index in text.indices {
      for byte in [0, 0x22, 0x5B, 0x5C, 0x7B, 0x7D, 0xFF] as [UInt8] {
        var damaged = text
        damaged[index] = byte
        _ = try? JSONReader.read(damaged)
      }
    }
  }

  @Test func whatIsWrittenIsReadAgain() throws {
    let node: JSONNode = [
      "text": "a\"b\\c\n\u{1}é😀", "number": .number("1e9"), "list": [1, "two", true, .null], "empty": [:], "none": [],
    ]
    #expect(try JSONReader.read(node.bytes) == node)
    // As others read it.
    let other = try JSONSerialization.jsonObject(with: Data(node.bytes)) as? [String: Any]
    #expect(other?["text"] as? String == "a\"b\\c\n\u{1}é😀")
  }
}
