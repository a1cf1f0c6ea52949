import Testing

@testable import AgentCore

@Suite struct PodCgroupNameTests {
  private static let uid = "8f6b1b2e-0c55-4c0e-9a39-2b2f1c7d9e10"

  @Test(arguments: ["kubepods", "kubepods.slice", "kubelet-kubepods.slice"])
  func aPodsFolder(_ name: String) { #expect(PodCgroupName.isPodsFolder(name[...])) }

  @Test(arguments: ["system.slice", "kubepods-burstable.slice", "burstable", "kubelet", "notkubepods", ""])
  func noPodsFolder(_ name: String) { #expect(!PodCgroupName.isPodsFolder(name[...])) }

  @Test(arguments: ["burstable", "besteffort", "kubepods-burstable.slice", "kubelet-kubepods-besteffort.slice"])
  func aClassOfService(_ name: String) {
    #expect(PodCgroupName.isClass(name[...]))
    #expect(PodCgroupName.podUID(name[...]) == nil)
  }

  @Test(arguments: [
    ("pod" + uid, uid),
    ("kubepods-burstable-pod8f6b1b2e_0c55_4c0e_9a39_2b2f1c7d9e10.slice", uid),
    ("kubepods-pod8f6b1b2e_0c55_4c0e_9a39_2b2f1c7d9e10.slice", uid),
    ("kubelet-kubepods-besteffort-pod8f6b1b2e_0c55_4c0e_9a39_2b2f1c7d9e10.slice", uid),
    // A static pod stands under its file's hash.
    ("pod0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"),
    ("kubepods-burstable-pod0123456789abcdef0123456789abcdef.slice", "0123456789abcdef0123456789abcdef"),
  ])
  func aPod(_ name: String, _ uid: String) { #expect(PodCgroupName.podUID(name[...]) == uid) }

  @Test(arguments: [
    "pod", "podcast", "pod../../etc", "kubepods-podx.slice", "pod" + String(repeating: "a", count: 65),
    "crio-abc.scope",
    "pod8f6b1b2e_0c55_4c0e_9a39_2b2f1c7d9e10", ".slice", "-.slice",
  ])
  func noPod(_ name: String) { #expect(PodCgroupName.podUID(name[...]) == nil) }

  @Test(arguments: [
    (String(repeating: "a", count: 64), true), ("cri-containerd-abc.scope", true), ("crio-abc.scope", true),
    ("docker-abc.scope", true), ("crio-abc", true), ("crio-conmon-abc.scope", false), ("crio-conmon-abc", false),
  ])
  func containers(_ name: String, _ isContainer: Bool) { #expect(PodCgroupName.isContainer(name[...]) == isContainer) }

  @Test func namespacesStandInTheNamesOfLogFolders() {
    #expect(PodLogNames.parse("shop_web-0_\(Self.uid)")?.namespace == "shop")
    #expect(PodLogNames.parse("shop_web-0_\(Self.uid)")?.uid == Self.uid)
    for name in ["shop", "shop_web", "Shop_web_1", "_web_1", "shop_web_", "a_b_c_d", ".."] {
      #expect(PodLogNames.parse(name) == nil, "\(name)")
    }
  }
}
