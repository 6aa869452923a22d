using System.Diagnostics;

namespace Edge.Local.Processes;

/// <summary>What a command that runs to its end said.</summary>
public sealed record ToolResult(int ExitCode, string Output, string Error);

/// <summary>A command that did not do what was asked; the message has the command, the exit code and what it wrote.</summary>
public sealed class ToolException(string message) : Exception(message);

/// <summary>Runs a command to its end.</summary>
public static class Tool
{
    /// <summary>Runs it and returns all it wrote; throws <see cref="ToolException"/> when it is not there or takes longer than the deadline.</summary>
    public static async Task<ToolResult> TryRunAsync(
        string file, IReadOnlyList<string> arguments, ToolOptions options, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo(file)
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        foreach (var (key, value) in options.Environment)
            start.Environment[key] = value;

        using var process = StartOrThrow(start);
        using var deadline = new CancellationTokenSource(options.Deadline, options.Time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(both.Token);
            var error = process.StandardError.ReadToEndAsync(both.Token);
            try
            {
                await process.StandardInput.WriteAsync(options.Input.AsMemory(), both.Token);
                process.StandardInput.Close();
            }
            catch (IOException)
            {
                // It ended without reading all of its input: its exit code and words say why.
            }

            await process.WaitForExitAsync(both.Token);
            return new ToolResult(process.ExitCode, await output, await error);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            cancellationToken.ThrowIfCancellationRequested();
            throw new ToolException($"{Line(file, arguments)} did not end within {options.Deadline.TotalSeconds:0} s");
        }
    }

    /// <summary>As <see cref="TryRunAsync"/>, and throws <see cref="ToolException"/> when the exit code is not 0; returns the standard output.</summary>
    public static async Task<string> RunAsync(
        string file, IReadOnlyList<string> arguments, ToolOptions options, CancellationToken cancellationToken)
    {
        var result = await TryRunAsync(file, arguments, options, cancellationToken);
        if (result.ExitCode != 0)
            throw new ToolException($"{Line(file, arguments)} ended with {result.ExitCode}: {(result.Error + result.Output).Trim()}");
        return result.Output;
    }

    /// <summary>The full path of a program on PATH, or null.</summary>
    public static string? OnPath(string name)
        => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries)
            .Append("/usr/sbin").Append("/sbin")
            .Select(directory => Path.Combine(directory, name))
            .FirstOrDefault(File.Exists);

    private static Process StartOrThrow(ProcessStartInfo start)
    {
        try
        {
            return Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new ToolException($"{start.FileName} cannot be started: {e.Message}");
        }
    }

    // A token in the arguments is a secret and does not belong in a message.
    private static string Line(string file, IReadOnlyList<string> arguments)
        => string.Join(' ', arguments.Select((argument, i) => i > 0 && arguments[i - 1] == "--token" ? "***" : argument).Prepend(Path.GetFileName(file)));
}

/// <summary>How a command is run.</summary>
public sealed record ToolOptions(TimeProvider Time)
{
    public TimeSpan Deadline { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Written to its standard input, which is then closed.</summary>
    public string Input { get; init; } = "";

    /// <summary>Laid over this process's environment.</summary>
    public IReadOnlyDictionary<string, string> Environment { get; init; } = new Dictionary<string, string>();
}
