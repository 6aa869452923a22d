using System.ComponentModel;
using System.Diagnostics;
using System.Text;

namespace Edge.Kubernetes;

/// <summary>Runs a credential plugin and keeps its answer while it is good. Safe for concurrent calls: one run serves all who wait.</summary>
internal sealed class ExecCredentialSource(ExecPlugin plugin, TimeProvider time) : IDisposable
{
    private const int OutputSizeMax = 1024 * 1024;

    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _gate = new();
    private Task<Kept>? _current;

    /// <summary>The credential in force, after a run of the program where there is none.</summary>
    /// <exception cref="KubeException">Code 0, reason Unauthorized: the program gave none. It is asked again with the next call.</exception>
    public async Task<ExecCredential> GetAsync(CancellationToken cancellationToken)
    {
        Task<Kept> current;
        lock (_gate)
        {
            if (_current is null || (_current.IsCompleted && (!_current.IsCompletedSuccessfully || _current.Result.Until <= time.GetUtcNow())))
                _current = Task.Run(() => RunAsync(_stop.Token), CancellationToken.None);
            current = _current;
        }

        // The run belongs to all who wait for it; who gives up leaves it to the others.
        return (await current.WaitAsync(cancellationToken)).Credential;
    }

    /// <summary>The API refused this one: it is not given again.</summary>
    public void Refused(ExecCredential credential)
    {
        lock (_gate)
        {
            if (_current is { IsCompletedSuccessfully: true } current && ReferenceEquals(current.Result.Credential, credential))
                _current = null;
        }
    }

    public void Dispose()
    {
        // A run under way sees it and kills its program; the source has no timer, so nothing is left to dispose.
        _stop.Cancel();
    }

    private async Task<Kept> RunAsync(CancellationToken stop)
    {
        using var limit = new CancellationTokenSource(plugin.TimeLimit, time);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(stop, limit.Token);
        using var process = Start();
        byte[]? output;
        string errors;
        try
        {
            process.StandardInput.Close();
            var reads = (Output: ReadAsync(process.StandardOutput.BaseStream, linked.Token), Errors: ReadAsync(process.StandardError.BaseStream, linked.Token));
            await Task.WhenAll(reads.Output, reads.Errors);
            await process.WaitForExitAsync(linked.Token);
            output = await reads.Output;
            errors = Encoding.UTF8.GetString(await reads.Errors ?? []);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw Failure(stop.IsCancellationRequested ? "was stopped with us" : $"did not end within {plugin.TimeLimit.TotalSeconds:0.#} s and was killed");
        }

        if (process.ExitCode != 0)
            throw Failure($"ended with exit code {process.ExitCode}{(ExecCredential.LastLine(errors) is { Length: > 0 } line ? $": {line}" : "")}", isHinted: process.ExitCode == 127);
        if (output is null)
            throw Failure($"wrote more than {OutputSizeMax} bytes");
        if (ExecCredential.TryRead(output, plugin.ApiVersion, out var problem) is not { } credential)
            throw Failure(problem);
        return new Kept(credential, credential.UsedUntil(time.GetUtcNow()));
    }

    private Process Start()
    {
        var file = plugin.Command.Contains('/', StringComparison.Ordinal) ? plugin.Command
            : OnPath(plugin.Command) ?? throw Failure("is not on PATH", isHinted: true);
        var start = new ProcessStartInfo(file, plugin.Arguments)
        {
            UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true,
        };
        foreach (var (name, value) in plugin.Environment)
            start.Environment[name] = value;
        start.Environment["KUBERNETES_EXEC_INFO"] = ExecCredential.Info(plugin);
        try
        {
            return Process.Start(start)!;
        }
        catch (Win32Exception e)
        {
            throw Failure($"cannot be started: {e.Message}", isHinted: true);
        }
    }

    // Process.Start would look beside this program and in the working directory first.
    private static string? OnPath(string name)
        => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries).Select(directory => Path.Combine(directory, name)).FirstOrDefault(File.Exists);

    // To the end, so that the program never waits for us; null where there was more than the bound.
    private static async Task<byte[]?> ReadAsync(Stream stream, CancellationToken cancellationToken)
    {
        using var kept = new MemoryStream();
        var buffer = new byte[4096];
        var size = 0L;
        int read;
        while ((read = await stream.ReadAsync(buffer, cancellationToken)) > 0)
        {
            size += read;
            if (size <= OutputSizeMax)
                kept.Write(buffer, 0, read);
        }

        return size <= OutputSizeMax ? kept.ToArray() : null;
    }

    private KubeException Failure(string what, bool isHinted = false)
        => new(0, "Unauthorized", $"the credential plugin '{plugin.Command}' of the kubeconfig {what}{(isHinted && plugin.InstallHint.Length > 0 ? $"; {plugin.InstallHint.Trim()}" : "")}");

    private sealed record Kept(ExecCredential Credential, DateTimeOffset Until);
}
