using System.CommandLine;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl completion</c>: scripts with which a shell completes edgectl's words. They ask edgectl itself, by System.CommandLine's <c>[suggest:POSITION]</c>.</summary>
internal static class CompletionCommand
{
    internal const string Bash = """
        # edgectl completion for bash; load it with: source <(edgectl completion bash)
        _edgectl() {
          local IFS=$'\n'
          COMPREPLY=($(edgectl "[suggest:$COMP_POINT]" "$COMP_LINE" 2>/dev/null))
        }
        complete -o default -F _edgectl edgectl

        """;

    internal const string Zsh = """
        #compdef edgectl
        # edgectl completion for zsh; load it with: source <(edgectl completion zsh)
        _edgectl() {
          local -a words_of_edgectl
          words_of_edgectl=("${(@f)$(edgectl "[suggest:$CURSOR]" "$BUFFER" 2>/dev/null)}")
          compadd -a words_of_edgectl
        }
        compdef _edgectl edgectl

        """;

    internal const string Fish = """
        # edgectl completion for fish; load it with: edgectl completion fish | source
        complete -c edgectl -f -a '(set -l line (commandline -cp); edgectl "[suggest:"(string length -- $line)"]" "$line" 2>/dev/null)'

        """;

    public static Command Create()
    {
        var shell = new Argument<string>("SHELL") { Description = "bash, zsh or fish." };
        shell.AcceptOnlyFromAmong("bash", "zsh", "fish");
        var command = new Command("completion", """
            Prints a script with which a shell completes edgectl's words.

            Examples:
              source <(edgectl completion bash)
              edgectl completion fish | source
            """)
        {
            shell,
        };
        command.SetAction(result => Console.Out.Write(result.GetValue(shell) switch { "zsh" => Zsh, "fish" => Fish, _ => Bash }));
        return command;
    }
}
