import ArgumentParser
import KubernetesAPI

struct Completion: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Prints the completions of a shell: bash, zsh or fish.",
    discussion: """
      bash: source <(weft completion bash)
      zsh:  weft completion zsh > "${fpath[1]}/_weft"
      fish: weft completion fish > ~/.config/fish/completions/weft.fish

      Names of nodes, namespaces and pods come from kubectl, where there is one.
      """)

  enum Shell: String, ExpressibleByArgument, CaseIterable {
    case bash, zsh, fish

    var kind: CompletionShell {
      switch self {
      case .bash: .bash
      case .zsh: .zsh
      case .fish: .fish
      }
    }
  }

  @Argument(help: "bash, zsh or fish.")
  var shell: Shell

  func run() throws {
    print(Weft.completionScript(for: shell.kind))
  }

  /// A shell command that prints names of a kind, one a line; nothing where it can't.
  static func names(_ plural: String) -> String {
    "kubectl get \(plural) --request-timeout=2s -o name 2>/dev/null | cut -d/ -f2"
  }

  @Sendable static func contexts(_ arguments: [String], _ index: Int, _ prefix: String) -> [String] {
    (try? Kubeconfig(paths: KubeconfigOptions.standardPaths()).contexts) ?? []
  }
}
