import Foundation

// What holds a pod's namespaces is one process of many: it does nothing else, not even parse.
if CommandLine.arguments.dropFirst().first == "pause" {
  // Process 1 of a pod's PID namespace: what its containers leave behind is its.
  signal(SIGCHLD, SIG_IGN)
  while true { pause() }
}
WeftLab.main()
