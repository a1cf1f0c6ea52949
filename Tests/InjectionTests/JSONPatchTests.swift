import Injection
import KubernetesAPI
import Testing

@Suite struct JSONPatchTests {
  @Test func namesAreEscapedInPointers() {
    let step = PatchStep.add(["metadata", "annotations", "weft.dev/a~b"], "x")
    #expect(step.json == ["op": "add", "path": "/metadata/annotations/weft.dev~1a~0b", "value": "x"])
    #expect(PatchStep.remove(["a", "0"]).under(["b"]).json == ["op": "remove", "path": "/b/a/0"])
  }

  @Test func stepsChangeWhatTheyName() throws {
    let document: JSONNode = ["a": ["x": 1], "b": [1, 3]]
    let result = try document.applying([
      .add(["a", "x"], 2), .add(["a", "y"], 3), .add(["b", "1"], 2), .add(["b", "-"], 4), .remove(["b", "0"]),
    ])
    #expect(result == ["a": ["x": 2, "y": 3], "b": [2, 3, 4]])
  }

  static let misfits: [PatchStep] = [
    .remove(["c"]), .remove(["b", "2"]), .add(["b", "3"], 1), .add(["c", "d"], 1), .add(["a", "x", "y"], 1),
    .add(["b", "-1"], 1), .remove([]), .remove(["b", "-"]),
  ]

  @Test(arguments: misfits) func aStepThatDoesNotFitIsNamed(step: PatchStep) {
    let document: JSONNode = ["a": ["x": 1], "b": [1, 3]]
    #expect(throws: PatchProblem(step: step)) { try document.applying([step]) }
  }
}
