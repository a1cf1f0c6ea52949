import ArgumentParser
import Lab

struct Up: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Makes a lab from the YAML files in a folder and waits until it is ready.")

  @Argument(help: "The folder of YAML files: Node, Namespace, Pod, Service and the mesh's own kinds.")
  var directory: String
  @OptionGroup var lab: LabOption
  @Flag(help: "Starts a real Kubernetes control plane; Nodes of the folder are simulated, all else is applied to it.")
  var kubernetes = false
  @Flag(help: "Starts the pods only: no control plane, no agents.")
  var noMesh = false
  @Option(help: "How long certificates live, as in 90s, 10m, 24h.")
  var certificateLifetime: String?
  @Option(help: "Event loops of each proxy (default: the cores of the machine).")
  var proxyWorkers: Int?
  @Option(parsing: .unconditional, help: "More arguments for weft-control, separated by spaces.")
  var controlArgs: String?
  @Flag(name: .shortAndLong, help: "No progress.")
  var quiet = false

  func validate() throws {
    if let proxyWorkers, !(1...1024).contains(proxyWorkers) {
      throw ValidationError("--proxy-workers takes 1 to 1024")
    }
  }

  func run() throws {
    var options = UpOptions(directory: directory, name: try lab.labName())
    options.withMesh = !noMesh
    options.mesh = MeshOptions(
      certificateLifetime: certificateLifetime, proxyWorkers: proxyWorkers,
      controlArguments: (controlArgs ?? "").split(separator: " ").map(String.init))
    if kubernetes {
      options.withMesh = false
      options.isKubernetes = true
      let state = try Lab.upKubernetes(options, progress: Progress(isQuiet: quiet))
      print(state.table())
      print("\nkubeconfig: \(try Lab.kubeconfig(lab.labName()))")
      print("weft-lab kubectl --name \(state.name) -- get pods -A")
      return
    }
    let state = try Lab.up(options, progress: Progress(isQuiet: quiet))
    print(state.table())
  }
}
