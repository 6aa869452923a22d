using Edge.Local.Processes;

namespace Edge.Local;

/// <summary>The stock kubectl, where the machine has it.</summary>
/// <param name="options">How it is run; a local Edge marks it as its own, so that a kubectl whose starter was killed is found and ended.</param>
public sealed class Kubectl(string kubeconfig, ToolOptions options)
{
    public static string? Executable { get; } = Tool.OnPath("kubectl");

    /// <summary>Runs it; throws <see cref="ToolException"/> with what it said when it fails.</summary>
    public Task<string> RunAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken, string input = "")
        => Tool.RunAsync(Required(), [$"--kubeconfig={kubeconfig}", .. arguments], Options(input), cancellationToken);

    /// <summary>Runs it and returns what it said, failed or not.</summary>
    public Task<ToolResult> TryRunAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken, string input = "")
        => Tool.TryRunAsync(Required(), [$"--kubeconfig={kubeconfig}", .. arguments], Options(input), cancellationToken);

    private static string Required() => Executable ?? throw new ToolException("kubectl is not on PATH");

    private ToolOptions Options(string input) => options with { Input = input };
}
