import Foundation

// What holds a pod's namespaces is one process of many: it does nothing else, not even parse.
if CommandLine.arguments.dropFirst().first == "pause" {
  while true { pause() }
}
WeftLab.main()
